"""The index page: complete, self-contained, well-formed, and safe against what stands in evidence."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from reports import index
from reports.__main__ import main
from tests.reports.runs import measurement, put, scenario

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Text, links and nesting of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.outside: list[str] = []
        self.open: list[str] = []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "href":
                self.links.append(value or "")
            if name == "src" or tag in ("link", "script", "img"):
                self.outside.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Five runs; the last is worse than the four before it and bears a failure."""
    for day in range(1, 5):
        put(tmp_path, day, scenario(measurement(0.3)))
    failed = scenario(scenario="Both <b>links</b> fall", status="failed")
    put(tmp_path, 5, scenario(measurement(0.9)), failed)
    return tmp_path


def test_every_run_is_listed_with_verdict_and_report(runs: Path) -> None:
    made = index.write(runs)
    page = Page(made.path.read_text(encoding="utf-8"))
    assert (made.path, made.runs, made.unread) == (runs / "index.html", 5, 0)
    assert page.links == [f"2026-01-0{day}T01-00-00Z/report.html" for day in (5, 4, 3, 2, 1)]
    assert all((runs / link).is_file() for link in page.links)
    assert page.outside == []
    assert "5 runs, made" in page.text
    assert "Both <b>links</b> fall" in page.text


def test_the_regression_is_named_and_drawn(runs: Path) -> None:
    made = index.write(runs)
    assert made.regressions == ("longest outage: 900 ms, usually 300 ms",)
    source = made.path.read_text(encoding="utf-8")
    (drawing,) = re.findall(r"<svg.*?</svg>", source, re.DOTALL)
    svg = ElementTree.fromstring(drawing)
    marks = [each for each in svg.iter() if "h-14z" in each.get("d", "")]
    assert len(marks) == 1
    assert "worse" in "".join(marks[0].itertext())
    dots = [each for each in svg.iter() if each.tag.endswith("circle")]
    assert len(dots) == 4
    assert svg.get("aria-label") == "longest outage, runs: 5, regressions: 1"
    # The worse figure is drawn above the usual ones.
    top = float(re.findall(r"M[\d.]+ ([\d.]+)l", marks[0].get("d", ""))[0])
    assert all(top < float(dot.get("cy", "0")) for dot in dots)


def test_the_matrix_has_a_row_a_criterion_and_a_column_a_run(runs: Path) -> None:
    source = index.write(runs).path.read_text(encoding="utf-8")
    matrix = source[source.index('<div class="matrix">') : source.index("</table></div>")]
    rows = re.findall(r"<tr><td>.*?</tr>", matrix, re.DOTALL)
    assert len(rows) == 10
    assert all(len(re.findall(r'<td class="(?:met|not-met|not-tried)"', row)) == 5 for row in rows)
    assert rows[2].count("●") == 5


def test_what_cannot_be_read_and_who_was_not_told_is_on_the_page(runs: Path) -> None:
    (runs / "2026-01-06T01-00-00Z").mkdir()
    outcomes = [
        {"to": "mail ops@rack.example", "sent": True, "detail": ""},
        {"to": "webhook hooks.example", "sent": False, "detail": "no answer within 10 s"},
    ]
    (runs / "2026-01-05T01-00-00Z" / "notified.json").write_text(json.dumps({"outcomes": outcomes}))
    page = Page(index.write(runs).path.read_text(encoding="utf-8"))
    assert "2026-01-06T01-00-00Z there is no evidence.json, and no record.jsonl" in page.text
    assert "not told: webhook hooks.example: no answer within 10 s" in page.text
    assert "mail ops@rack.example" not in page.text


def test_a_run_without_a_report_says_how_to_make_one(runs: Path) -> None:
    (runs / "2026-01-05T01-00-00Z" / "report.html").unlink()
    page = Page(index.write(runs).path.read_text(encoding="utf-8"))
    assert "python -m reports 2026-01-05T01-00-00Z" in page.text


def test_sites_stand_apart(runs: Path) -> None:
    put(runs, 7, scenario(measurement(5.0)), site="pve1", kind="acceptance")
    made = index.write(runs)
    page = Page(made.path.read_text(encoding="utf-8"))
    assert made.regressions == ()
    assert "Measurements of lab, rehearsal" in page.text
    assert "Measurements of pve1, acceptance" in page.text


def test_no_run_is_a_page_too(tmp_path: Path) -> None:
    page = Page(index.write(tmp_path / "runs").path.read_text(encoding="utf-8"))
    assert "no runs yet" in page.text


def test_odd_figures_are_drawn(tmp_path: Path) -> None:
    odd = [0.0, -5.0, 1e-12, 1e15]
    for day, value in enumerate(odd, 1):
        put(tmp_path, day, scenario(measurement(value, target=1e9, name="<&>")))
    source = index.write(tmp_path).path.read_text(encoding="utf-8")
    for drawing in re.findall(r"<svg.*?</svg>", source, re.DOTALL):
        ElementTree.fromstring(drawing)
        assert "nan" not in drawing.lower()


def test_the_command_writes_it_and_tells_of_regressions(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", "--runs", str(runs)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told == [
        f"index: {runs / 'index.html'} (5 runs)",
        "regressed in the newest run: longest outage: 900 ms, usually 300 ms",
    ]


def test_where_it_cannot_be_written_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").write_text("a file", encoding="utf-8")
    assert main(["index", "--runs", str(tmp_path / "runs")]) == 1
    told = capsys.readouterr().err
    assert told.startswith(str(tmp_path / "runs"))
    assert "Traceback" not in told and len(told.splitlines()) == 1

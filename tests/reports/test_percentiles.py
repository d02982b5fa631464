"""Latencies by percentile: drawn to scale, well formed whatever they are, kept in record and report."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import html
from reports.evidence import Run
from reports.model import Distribution
from reports.percentiles import draw
from reports.record import load
from reports.redaction import Redactor

CURVE = ((50.0, 0.001), (90.0, 0.002), (95.0, 0.004), (99.0, 0.010), (99.9, 0.100))


def points(drawing: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline points="([^"]+)"', drawing)
    return [[tuple(map(float, pair.split(","))) for pair in line.split()] for line in found]  # type: ignore[misc]


def test_each_step_to_the_right_is_a_tenth_of_the_operations() -> None:
    (line,) = points(draw(Distribution("t", (("a", CURVE),), 95.0, 0.005)))
    x = dict(zip([p for p, _ in CURVE], (x for x, _ in line), strict=True))
    assert x[99.0] - x[90.0] == pytest.approx(x[99.9] - x[99.0], abs=0.2)
    y = dict(zip([s for _, s in CURVE], (y for _, y in line), strict=True))
    assert y[0.001] - y[0.010] == pytest.approx(y[0.010] - y[0.100], abs=0.2)
    assert all(one[0] < two[0] and one[1] > two[1] for one, two in pairwise(line))


def test_series_are_told_apart_and_the_target_is_drawn() -> None:
    drawn = draw(Distribution("t", (("vm <a>", CURVE), ("ct", CURVE)), 95.0, 0.005))
    strokes = re.findall(r'<polyline[^>]* stroke="(#\w+)"[^>]*stroke-dasharray="([^"]*)"', drawn)
    assert len(set(strokes)) == 2
    assert "target 5 ms at 95 %" in drawn
    assert "95 % within 4 ms" in drawn
    assert "vm &lt;a&gt;" in drawn
    assert "target" not in draw(Distribution("t", (("a", CURVE),)))


def test_nothing_to_draw_is_said() -> None:
    for series in ((), (("a", ()),), (("a", ((100.0, 1.0), (50.0, 0.0))),)):
        assert "no latencies" in draw(Distribution("t", series))


latencies = st.floats(min_value=1e-7, max_value=100)
curves = st.lists(st.tuples(st.floats(min_value=0.1, max_value=99.9999), latencies), max_size=8).map(tuple)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.text(alphabet="ab<&\"'", max_size=5), curves), max_size=7).map(tuple),
    st.none() | latencies,
)
def test_any_drawing_is_well_formed_and_inside_its_frame(
    series: tuple[tuple[str, tuple[tuple[float, float], ...]], ...], limit: float | None
) -> None:
    drawn = draw(Distribution("<t>", series, 95.0, limit))
    root = ElementTree.fromstring(drawn)
    for svg in root.iter("{http://www.w3.org/2000/svg}svg"):
        width, height = map(float, svg.attrib["viewBox"].split()[2:])
        assert all(0 <= x <= width and 0 <= y <= height for line in points(drawn) for x, y in line)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.open(
        tmp_path, site="lab", kind="rehearsal", seed=7, command="pytest", versions={},
        redactor=Redactor(["canary-canary"]),
    )  # fmt: skip


def test_they_are_in_the_record_the_evidence_the_report_and_a_file(run: Run) -> None:
    kept = Distribution("Small blocks", (("a", CURVE),), 95.0, 0.005)
    run.begin("features/f.feature", "s", [])
    run.distribution(kept)
    run.end("passed", "", 1.0)
    run.finish()
    assert load(run.folder / "record.jsonl").scenarios[0].distributions == [kept]
    (scenario,) = json.loads((run.folder / "evidence.json").read_text(encoding="utf-8"))["scenarios"]
    assert scenario["distributions"][0]["series"][0][1][2] == [95.0, 0.004]
    assert "<h2>Latencies</h2>" in html.page(run.record, run.redactor)
    html.export(run.record, run.folder, run.redactor)
    (drawing,) = (run.folder / "plots").iterdir()
    ElementTree.fromstring(drawing.read_text(encoding="utf-8"))


def test_a_file_is_kept_whole_redacted_and_never_overwritten(run: Run) -> None:
    run.begin("features/f.feature", "s", [])
    long = "x" * 200_000
    first = run.artefact("fio-1.json", f"{long} canary-canary")
    second = run.artefact("fio-1.json", "other")
    run.end("passed", "", 1.0)
    run.finish()
    assert first.read_text(encoding="utf-8") == f"{long} [redacted]"
    assert (second.name, second.read_text(encoding="utf-8")) == ("fio-1-2.json", "other")
    again = load(run.folder / "record.jsonl").scenarios[0]
    assert again.artefacts == ["artefacts/fio-1.json", "artefacts/fio-1-2.json"]
    assert "artefacts/fio-1.json" in html.page(run.record, run.redactor)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_a_file_lands_nowhere_else(run: Run, name: str) -> None:
    with pytest.raises(ValueError, match="no plain file name"):
        run.artefact(name, "x")

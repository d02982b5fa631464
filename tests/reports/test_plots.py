"""Drawings: right places, honest sizes, nothing that breaks a page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.html import quantity
from reports.model import Timeline
from reports.plots import seconds, timeline

times = st.floats(min_value=-100, max_value=1000, allow_nan=False)
spans = st.tuples(times, st.floats(min_value=0, max_value=300)).map(lambda pair: (pair[0], pair[0] + pair[1]))
texts = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=40)
drills = st.builds(
    Timeline,
    title=texts,
    events=st.lists(st.tuples(times, texts), max_size=5).map(tuple),
    bands=st.lists(st.tuples(texts, spans, st.sampled_from(["fault", "heal", "other"])), max_size=3).map(
        lambda bands: tuple((label, start, end, kind) for label, (start, end), kind in bands)
    ),
    outages=st.lists(st.tuples(texts, spans), max_size=4).map(
        lambda outages: tuple((path, start, end) for path, (start, end) in outages)
    ),
    predicted_s=st.none() | st.floats(min_value=0, max_value=300),
    paths=st.lists(texts, max_size=4).map(tuple),
)


@given(drills)
def test_any_drill_makes_well_formed_drawings_within_their_frame(drill: Timeline) -> None:
    drawn = timeline(drill)
    root = ElementTree.fromstring(drawn)
    for svg in root.iter("{http://www.w3.org/2000/svg}svg"):
        width, height = map(float, svg.attrib["viewBox"].split()[2:])
        for box in svg.iter("{http://www.w3.org/2000/svg}rect"):
            left, top = float(box.attrib["x"]), float(box.attrib["y"])
            assert 0 <= left <= width
            assert left + float(box.attrib["width"]) <= width
            assert 0 <= top <= top + float(box.attrib["height"]) <= height


def _bars(drawing: str) -> list[float]:
    return [float(w) for w in re.findall(r'width="([\d.]+)" height="14.0" fill="#b3261e"', drawing)]


def test_bars_are_as_long_as_outages() -> None:
    drill = Timeline("t", outages=(("a", 0.0, 1.0), ("b", 0.0, 3.0)), bands=(("in", 0.0, 10.0, "fault"),))
    short, long = _bars(timeline(drill))
    assert long == pytest.approx(3 * short, rel=0.01)


def test_a_short_outage_in_a_long_drill_is_enlarged() -> None:
    drill = Timeline("t", outages=(("a", 5.0, 5.1),), bands=(("in", 0.0, 60.0, "fault"),))
    drawn = timeline(drill)
    assert drawn.count("<svg") == 2
    assert max(_bars(drawn)) > 300
    assert "longest outage 100 ms" in drawn


def test_a_drill_without_outage_says_so_and_shows_every_path() -> None:
    drawn = timeline(Timeline("t", events=((0, "cut"),), paths=("a to b", "b to a")))
    assert "no outage" in drawn
    assert "a to b" in drawn
    assert "b to a" in drawn


def test_text_cannot_break_out() -> None:
    drawn = timeline(Timeline("<script>", events=((0, "<b>"),), outages=(('"&', 0, 1),)))
    assert "<script>" not in drawn
    assert "<b><" not in drawn


@pytest.mark.parametrize(
    ("value", "expected"), [(0.31, "310 ms"), (1.024, "1.02 s"), (75.2, "75 s"), (0.0, "0 ms")]
)
def test_durations_read_well(value: float, expected: str) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (23.5e6, "bit/s", "23.5 Mbit/s"),
        (150e9, "bit/s", "150 Gbit/s"),
        (7.68e12, "B", "7.68 TB"),
        (12, "bit/s", "12 bit/s"),
        (0.114, "s", "114 ms"),
        (0.0, "s", "0 s"),
        (1.5, "s", "1.5 s"),
        (120000, "IOPS", "120 000 IOPS"),
        (3, "", "3"),
    ],
)
def test_quantities_read_well(value: float, unit: str, expected: str) -> None:
    assert quantity(value, unit).replace("\u00a0", " ").replace("\u202f", " ") == expected

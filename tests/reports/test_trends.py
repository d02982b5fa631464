"""The rule of regressions: direction, tolerance, and what is never compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports import history, trends
from tests.reports.runs import evidence, measurement, scenario


def told(values: list[float], **more: Any) -> list[str]:
    """The trend of each value, a run a day."""
    runs = [run(day, measurement(value, **more)) for day, value in enumerate(values, 1)]
    (only,) = trends.series(runs)
    return [point.trend for point in only.points]


def run(day: int, *measurements: dict[str, Any], status: str = "passed", **more: Any) -> history.PastRun:
    data = evidence(day, scenario(*measurements, status=status), **more)
    return history.of_evidence(Path(f"2026-01-{day:02}T01-00-00Z"), data)


def test_less_than_three_runs_before_say_nothing() -> None:
    assert told([1.0, 1.0, 9.0]) == ["too few"] * 3
    assert told([1.0, 1.0, 1.0, 9.0])[-1] == "worse"


@pytest.mark.parametrize(
    ("relation", "value", "trend"),
    [
        ("<", 1.3, "worse"),
        ("<", 0.7, "better"),
        ("<", 1.19, "steady"),
        (">", 1.3, "better"),
        (">", 0.7, "worse"),
        (">", 0.81, "steady"),
    ],
)
def test_the_relation_says_what_is_worse(relation: str, value: float, trend: str) -> None:
    assert told([1.0, 1.0, 1.0, value], relation=relation)[-1] == trend


def test_with_equals_the_distance_from_the_target_counts() -> None:
    assert told([0.0, 0.0, 0.0, 1.0], relation="=", target=0.0, resolution=0.0)[-1] == "worse"
    assert told([0.0, 0.0, 0.0, -1.0], relation="=", target=0.0, resolution=0.0)[-1] == "worse"
    assert told([5.0, 5.0, 5.0, 3.0], relation="=", target=3.0)[-1] == "better"


def test_what_scatters_much_is_allowed_to_scatter() -> None:
    # Median 1.0, deviations up to 0.4: the scatter, not the fifth, is the tolerance.
    noisy = [0.6, 1.4, 1.0, 0.7, 1.3, 1.0, 0.6, 1.4]
    assert told([*noisy, 1.9])[-1] == "steady"
    assert told([*noisy, 3.0])[-1] == "worse"


def test_one_outlier_before_does_not_hide_a_regression() -> None:
    assert told([1.0, 1.0, 30.0, 1.0, 1.0, 2.0])[-1] == "worse"


def test_what_is_within_the_resolution_is_steady() -> None:
    assert told([0.02, 0.02, 0.02, 0.05], resolution=0.05)[-1] == "steady"


def test_what_is_a_hundredth_of_the_target_is_steady() -> None:
    # A clock that was off by half a microsecond, with 50 ms allowed.
    assert told([0.5, 0.5, 0.5, 10.0], target=50_000.0, resolution=0.001)[-1] == "steady"
    assert told([0.5, 0.5, 0.5, 501.0], target=50_000.0, resolution=0.001)[-1] == "worse"


def test_only_the_last_ten_runs_are_the_measure() -> None:
    # After eleven runs at the new figure the old one is forgotten.
    values = [1.0] * 5 + [2.0] * 11
    found = told(values)
    assert found[5] == "worse"
    assert found[-1] == "steady"


@pytest.mark.parametrize("other", [{"site": "pve1"}, {"kind": "acceptance"}])
def test_another_site_or_kind_is_another_series(other: dict[str, str]) -> None:
    runs = [run(day, measurement(1.0)) for day in (1, 2, 3)]
    found = trends.series([*runs, run(4, measurement(9.0), **other)])
    assert sorted(len(each.points) for each in found) == [1, 3]
    assert not any(each.regressions for each in found)


def test_a_relaxed_target_is_another_series() -> None:
    runs = [run(day, measurement(1.0)) for day in (1, 2, 3)]
    found = trends.series([*runs, run(4, measurement(9.0, relaxed_from=0.5))])
    assert [(each.key.relaxed, len(each.points)) for each in found] == [(False, 3), (True, 1)]


def test_another_scenario_unit_or_name_is_another_series() -> None:
    found = trends.series(
        [run(1, measurement(1.0), measurement(2.0, unit="ms"), measurement(3.0, name="shortest outage"))]
    )
    assert len(found) == 3


@pytest.mark.parametrize("unit", ["", " beats"])
def test_a_count_at_the_end_of_a_name_does_not_part_runs(unit: str) -> None:
    runs = [
        run(1, measurement(0.0, name=f"writes lost, of 18 234{unit}")),
        run(2, measurement(0.0, name=f"writes lost, of 9120{unit}")),
    ]
    (only,) = trends.series(runs)
    assert (only.key.name, len(only.points)) == ("writes lost", 2)


def test_a_number_in_a_target_is_no_count() -> None:
    runs = [run(day, measurement(0.0, name=f"two of 3 nodes, pause of {day} OSDs")) for day in (1, 2)]
    assert len(trends.series(runs)) == 2


def test_of_several_figures_in_one_run_the_worst_counts() -> None:
    (only,) = trends.series([run(1, measurement(0.2), measurement(0.9), measurement(0.4))])
    assert (only.last.value, only.last.taken) == (0.9, 3)
    (only,) = trends.series([run(1, measurement(0.2, relation=">"), measurement(0.9, relation=">"))])
    assert only.last.value == 0.2


def test_a_scenario_that_ended_unknown_is_neither_judged_nor_a_measure() -> None:
    runs = [run(day, measurement(1.0)) for day in (1, 2, 3)]
    runs += [run(day, measurement(9.0), status="unknown") for day in range(4, 15)]
    (only,) = trends.series([*runs, run(16, measurement(9.0))])
    assert {point.trend for point in only.points[3:14]} == {"not compared"}
    assert only.last.trend == "worse"
    assert only.last.usual == 1.0


def test_the_order_in_which_runs_are_given_does_not_matter() -> None:
    runs = [run(day, measurement(float(day))) for day in (3, 1, 2)]
    (only,) = trends.series(runs)
    assert [point.value for point in only.points] == [1.0, 2.0, 3.0]
    assert (only.median, only.range) == (2.0, (1.0, 3.0))


def test_the_regressions_of_one_run_are_named_with_what_was_usual() -> None:
    runs = [run(day, measurement(1.0)) for day in (1, 2, 3)]
    found = trends.series([*runs, run(4, measurement(2.5)), run(5, measurement(1.0))])
    ((which, point),) = trends.regressions(found, "2026-01-04T01-00-00Z")
    assert trends.sentence(which, point) == "longest outage: 2.5 s, usually 1 s"
    assert trends.regressions(found, "2026-01-05T01-00-00Z") == []

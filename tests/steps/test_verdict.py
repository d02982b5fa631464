"""How a sentence fails: with every finding, and with every number beside its target."""

from __future__ import annotations

import json

import pytest

from cluster.site import Site
from cluster.units import UnitError
from reports.evidence import Run
from reports.model import Measurement
from steps.verdict import NotAsOrderedError, all_hold, all_met, measure


def test_no_finding_is_a_pass() -> None:
    all_hold([])
    all_hold(iter(()))


def test_all_findings_are_told_each_once_in_order() -> None:
    with pytest.raises(NotAsOrderedError, match=r"^node2: b; node1: a$") as caught:
        all_hold(iter(["node2: b", "node1: a", "node2: b"]))
    assert caught.value.verdict == "failed"


def taken(run: Run, site: Site, value: float, asked: str = "150 Gbit/s") -> Measurement:
    return measure(
        run, site, "host_network_throughput", "node1 to node2", value, asked, resolution=1e6, method="iperf3"
    )


def bare(site: Site, **relax: str) -> Site:
    return site.model_copy(update={"relax": relax})


def test_a_number_is_judged_as_the_feature_asks(run: Run, site: Site) -> None:
    strict = bare(site)
    slow, fast = taken(run, strict, 149e9), taken(run, strict, 151e9)
    assert (slow.met, slow.target, slow.relaxed_from, slow.unit) == (False, 150e9, None, "bit/s")
    assert fast.met
    with pytest.raises(NotAsOrderedError, match=r"^node1 to node2 is 1\.49e\+11 bit/s, expected > 1\.5e\+11"):
        all_met([fast, slow])
    all_met([fast])


def test_a_relaxed_number_says_so(run: Run, site: Site) -> None:
    number = taken(run, bare(site, host_network_throughput="20Mbit/s"), 21e6)
    assert (number.met, number.target, number.relaxed_from) == (True, 20e6, 150e9)
    assert not taken(run, bare(site, host_network_throughput="20Mbit/s"), 19e6).met


def test_a_site_cannot_relax_by_asking_more(run: Run, site: Site) -> None:
    number = taken(run, bare(site, host_network_throughput="160 Gbit/s"), 155e9)
    assert (number.met, number.target, number.relaxed_from) == (True, 150e9, None)


def test_missed_numbers_are_recorded_too(run: Run, site: Site) -> None:
    taken(run, bare(site), 1e9)
    events = [json.loads(line) for line in (run.folder / "record.jsonl").read_text().splitlines()]
    assert [event["met"] for event in events if event["event"] == "measure"] == [False]


def test_nothing_measured_is_no_pass() -> None:
    with pytest.raises(NotAsOrderedError, match="nothing was measured"):
        all_met([])


def test_what_is_no_number_is_no_measurement(run: Run, site: Site) -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not a measurement"):
            taken(run, bare(site), value)


def test_a_target_in_a_wrong_unit_is_refused(run: Run, site: Site) -> None:
    with pytest.raises(UnitError):
        taken(run, bare(site), 1e9, "150 seconds")


def test_a_target_that_no_feature_has_is_refused(run: Run, site: Site) -> None:
    with pytest.raises(KeyError):
        measure(run, site, "speed_of_light", "x", 1.0, "1 s", resolution=0.1, method="")

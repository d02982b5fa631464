"""Every number in a feature is one that the plan promises, with the plan's figure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cluster.site import ROOT, load
from cluster.targets import TARGETS
from cluster.units import parse_seconds
from reports.catalogue import read
from steps.phase2_network import REVERT_S

QUANTITY = re.compile(
    r"\d+(?:\.\d+)?\s*(?:[kMGT]?(?:bit/s|B/s|iB|B\b)|[a-z]?\s?IOPS|%|[a-z]*seconds?|minutes?|hours?)"
)
PROMISED = {
    # A sentence of a feature, its number left out: the target it names.
    "each management controller's clock is within # of ours": "bmc_clock_offset",
    "each node's clock is synchronised to the ordered time servers within #": "clock_offset",
    "the throughput between every pair of nodes is at least #": "host_network_throughput",
    "no path is interrupted for more than #": "link_outage",
    "every node's clock is within # of the time servers and of every other node's": "clock_offset",
    "a round trip between every pair of nodes takes less than # on each network of the cluster": (
        "ring_round_trip"
    ),
    "Ceph takes it down within #": "osd_down_detection",
    "Ceph takes them down within #": "osd_down_detection",
    "client writes pause for no more than #": "client_io_gap",
    "writes through CephFS pause for no more than #": "mds_failover",
    "the monitors left have a quorum and a leader within #": "mon_failover",
    "another manager is active within #": "mgr_failover",
    "another metadata server is active within #": "mds_failover",
    "its data is placed elsewhere within #": "osd_failure_recovery",
    "it comes back and all data is whole within #": "osd_failure_recovery",
    "they come back and all data is whole within #": "osd_failure_recovery",
    "it is as fast as before and all data is whole within #": "osd_failure_recovery",
    "its guests answer again within #": "node_loss_recovery",
    "it answers again within #": "guest_failure_recovery",
    "its guests answer from other nodes within #": "guest_failure_recovery",
    "no figure is worse than its baseline by # or more": "baseline_regression",
    **{
        sentence.format(guests): name
        for guests in ("virtual machines", "containers")
        for sentence, name in (
            ("all nodes together write in sequence for {} with at least #", "ceph_sequential_write"),
            ("all nodes together read in sequence for {} with at least #", "ceph_sequential_read"),
            ("all nodes together read small blocks at random for {} with at least #", "ceph_random_read"),
            ("all nodes together write small blocks at random for {} with at least #", "ceph_random_write"),
            (
                "while all nodes read and write at random for {}, 95 percent of all waits are under #",
                "ceph_latency_p95",
            ),
        )
    },
}
OURS = {
    # Deadlines of rackproof's own, which are no promise about the cluster: what they must exceed.
    "the node loses its address and within # the former configuration is back by itself": REVERT_S,
}
SENTENCES = sorted(
    {
        (step.name, f"{case.feature}:{step.line_number}")
        for path in sorted((ROOT / "features").rglob("*.feature"))
        for case in read(path, ROOT)
        for step in case.template.render(case.row).steps
        if QUANTITY.search(step.name)
    }
)


@pytest.mark.parametrize(("sentence", "where"), SENTENCES, ids=[where for _, where in SENTENCES])
def test_a_number_in_a_feature_is_the_promised_one(sentence: str, where: str) -> None:
    (asked,) = QUANTITY.findall(sentence)
    bare = QUANTITY.sub("#", sentence)
    if bare in OURS:
        assert parse_seconds(asked) > OURS[bare], f"{where}: {asked} is over before the timer fires"
        return
    assert bare in PROMISED, (
        f"{where}: no target for this sentence; add it to PROMISED, and to cluster/targets.py"
    )
    target = TARGETS[PROMISED[bare]]
    assert target.parse(asked) == target.value, (
        f"{where}: {asked}, but {target.name} promises {target.default}"
    )


def test_no_sentence_here_is_left_from_an_older_feature() -> None:
    assert {QUANTITY.sub("#", sentence) for sentence, _ in SENTENCES} == {*PROMISED, *OURS}


@pytest.mark.parametrize("name", ["lab", "pve1"])
def test_a_site_relaxes_only_what_is_promised_and_only_to_less(name: str) -> None:
    site = load(Path(ROOT / f"sites/{name}.toml"))
    for key, text in site.relax.items():
        assert TARGETS[key].easier(TARGETS[key].parse(text)), f"{key} = {text} is no relaxation"
    assert not (site.kind == "acceptance" and site.relax)

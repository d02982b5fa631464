"""The probe end to end: real agents, real sockets, a real wire that is cut for a known time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping

import pytest

from chaos.probe import Path, ProbeMesh, paths_among
from chaos.probe_hosts import AgentHost, LocalHost
from cluster.errors import UnknownError
from tests.chaos.conftest import Wire


def mesh(wire: Wire, interval_s: float = 0.005) -> tuple[ProbeMesh, Mapping[str, LocalHost]]:
    hosts = {
        "left": LocalHost("left", wire.prefix(wire.left)),
        "right": LocalHost("right", wire.prefix(wire.right)),
    }
    agents: dict[str, AgentHost] = dict(hosts)
    probes = ProbeMesh(
        None, paths_among(["left", "right"]), interval_s, 30, hosts=agents, addresses=wire.addresses
    )
    return probes, hosts


def test_known_cuts_lie_within_the_stated_resolution_in_both_directions(wire: Wire) -> None:
    probes, _ = mesh(wire)
    with probes:
        time.sleep(0.3)
        cuts = wire.cut_for(0.05, 0.1, 0.3, 0.3, 1.0)
        time.sleep(0.8)
    report = probes.stop()
    assert report.unknown == {}
    for path in map(str, probes.paths):
        for start, end, blur in cuts:
            near = [o for o in report.outages if o.path == path and o.start_s < end and o.end_s > start]
            outage = max(near, key=lambda each: each.seconds)
            assert outage.least_s - blur <= end - start <= outage.seconds + blur
            assert outage.start_s <= start + blur <= end <= outage.end_s + blur
            assert outage.ended


def test_a_sound_wire_has_no_outage_and_a_look_in_mid_run_says_so_too(wire: Wire) -> None:
    probes, _ = mesh(wire)
    with probes:
        time.sleep(1.2)
        assert [outage for outage in probes.outages() if outage.least_s > 0] == []
        assert min(q.judged for q in probes.report().quality.values()) > 50
    assert [outage for outage in probes.stop().certain() if outage.least_s > 0] == []


def test_a_killed_agent_is_unknown_and_never_no_outage(wire: Wire) -> None:
    probes, hosts = mesh(wire)
    with probes:
        time.sleep(0.7)
        process = hosts["right"]._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.3)
    with pytest.raises(UnknownError, match="right"):
        probes.outages()


def test_an_agent_that_stands_still_for_long_is_unknown(wire: Wire) -> None:
    probes, hosts = mesh(wire)
    with probes:
        process = hosts["left"]._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(1.0)
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.6)
    report = probes.stop()
    assert [outage for outage in report.outages if outage.least_s > 0] == []
    assert report.worst_stall_s >= 0.9
    with pytest.raises(UnknownError, match="stood still"):
        report.certain()


def test_a_path_that_never_worked_fails_the_start_and_leaves_no_agent(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaos.probe.READY_S", 0.5)
    wire.cut()
    probes, hosts = mesh(wire)
    with pytest.raises(UnknownError, match="left → right"):
        probes.start()
    for host in hosts.values():
        assert host._process is not None
        assert host._process.poll() is not None


def test_an_agent_dies_by_itself_at_its_limit(wire: Wire) -> None:
    host = LocalHost("left", wire.prefix(wire.left))
    probes = ProbeMesh(
        None,
        [Path("left", "left2")],
        0.005,
        0.4,
        hosts={"left": host, "left2": LocalHost("left2", wire.prefix(wire.right))},
        addresses={"left": wire.addresses["left"], "left2": wire.addresses["right"]},
    )
    with probes:
        time.sleep(1.0)
        assert host._process is not None
        assert host._process.poll() == 0
        assert host._folder is not None
        assert not host._folder.exists()
    with pytest.raises(UnknownError, match="time limit was over"):
        probes.outages()


def test_an_agent_that_cannot_start_says_why(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaos.probe.READY_S", 2.0)
    probes, _ = mesh(wire)
    probes.port = 70_000
    with pytest.raises(UnknownError, match="port must be 0-65535"):
        probes.start()


def test_two_meshes_do_not_meet(wire: Wire) -> None:
    one, _ = mesh(wire)
    other, _ = mesh(wire)
    with one, other:
        time.sleep(0.8)
    assert one.stop().unknown == other.stop().unknown == {}
    assert one.port != other.port or one.session != other.session

"""Faults of whole nodes, of guests and of fencing: who is refused, who heals, and what is never touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chaos import guards, late
from chaos.aim import narrowed
from chaos.engine import Engine
from chaos.fault import Fault, FaultError
from chaos.faults import guest as guest_module
from chaos.faults.bmc_password import BmcWrongPassword, NodeLostBmcWrongPassword, last_said
from chaos.faults.bmc_route import BmcUnreachable, NodeLostBmcUnreachable
from chaos.faults.guest import GuestCrash, GuestServiceDead
from chaos.faults.kernel import KernelCrash, KernelHang
from chaos.faults.lost import running_since
from chaos.faults.maintenance import NodeMaintenance
from chaos.faults.power import NodePowerLost, TwoNodesLost
from chaos.faults.rings import AllRingsDown, CorosyncCut
from chaos.faults.several import Several
from chaos.guard import Guard
from cluster.errors import NotApplicableError, RackproofError, RefusedError, UnknownError
from tests.chaos import compute_programs
from tests.chaos.world import FakeCluster

DRILL = "0a1b2c3d"


def engine(world: FakeCluster) -> Engine:
    return Engine(world, Guard(settle_s=0, sleep=world.sleep), sleep=lambda _: None)


def lost(kind: type[Any], world: FakeCluster, node: str = "node1", **more: Any) -> Any:
    return kind.draw(narrowed(world, node), Random(1), **more)  # type: ignore[arg-type]


# -- nodes


def test_power_is_cut_once_and_given_back_once(world: FakeCluster) -> None:
    fault = lost(NodePowerLost, world)
    with engine(world).fault(fault) as window:
        assert not world.nodes["node1"].answers() and world.nodes["node2"].answers()
    assert world.bmcs["node1"].sent == ["ForceOff", "On"]
    assert window.healed_by == "the harness"
    assert running_since(world, "node1") != fault.boot


def test_a_node_that_came_back_by_itself_is_not_switched(world: FakeCluster) -> None:
    with engine(world).fault(lost(KernelCrash, world)):
        world.nodes["node1"].start()
    assert world.bmcs["node1"].sent == []


def test_a_start_that_was_not_ended_is_unknown(world: FakeCluster) -> None:
    with pytest.raises(UnknownError, match="was not lost: it still runs since before"):
        lost(KernelHang, world).proven(world, DRILL)


def test_a_node_that_started_anew_since_it_was_chosen_is_refused(world: FakeCluster) -> None:
    fault = lost(NodePowerLost, world)
    world.nodes["node1"].start()
    with pytest.raises(RefusedError, match="has started anew since it was chosen"):
        fault.check(world)


def test_a_bmc_that_could_not_bring_it_back_rules_it_out(world: FakeCluster) -> None:
    world.bmcs["node1"].offered = ("ForceOff", "GracefulShutdown")
    with pytest.raises(NotApplicableError, match=r"PF-BMC-RESET.*does not offer On"):
        lost(NodePowerLost, world).check(world)
    world.bmcs["node1"].offered = ()  # it does not tell
    lost(NodePowerLost, world).check(world)


def test_two_nodes_are_only_lost_with_consent(world: FakeCluster) -> None:
    fault = TwoNodesLost.aimed(world, "node2", Random(1))
    assert fault.nodes[0] == "node2" and len(set(fault.nodes)) == 2
    with pytest.raises(RefusedError, match=r"1 of 3 nodes would be left.*consent = true"):
        Engine(world, guards.whole(), sleep=lambda _: None).begin(fault)
    assert all(bmc.sent == [] for bmc in world.bmcs.values())
    with engine(world).fault(replace(fault, consent=True)):
        assert sum(node.answers() for node in world.nodes.values()) == 1
    for name in fault.nodes:
        assert world.bmcs[name].sent == ["ForceOff", "On"]


def test_a_part_that_does_not_heal_keeps_none_of_the_others_from_it(
    world: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = TwoNodesLost.aimed(world, "node2", Random(1))
    first, second = fault.nodes
    fault.inject(world, DRILL)

    def refuse(reset: str) -> None:
        raise RackproofError("no")

    monkeypatch.setattr(world.bmcs[first], "power", refuse)
    with pytest.raises(RackproofError, match="no"):
        fault.heal(world, DRILL)
    assert world.nodes[second].answers() and not world.nodes[first].answers()
    assert not fault.healed(world)


def test_every_part_is_prepared_before_the_first_is_broken(
    world: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[tuple[str, str]] = []
    monkeypatch.setattr(
        NodePowerLost, "prepare", lambda self, cluster, drill: prepared.append((self.node, drill))
    )
    fault = TwoNodesLost.aimed(world, "node2", Random(1))
    fault.prepare(world, DRILL)
    assert prepared == [(name, f"{DRILL}p{n}") for n, name in enumerate(fault.nodes)]
    assert all(bmc.sent == [] for bmc in world.bmcs.values())


def test_the_next_part_is_only_broken_once_the_one_before_is_seen_broken(
    world: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = TwoNodesLost.aimed(world, "node2", Random(1))
    first, second = fault.nodes
    monkeypatch.setattr(NodePowerLost, "inject_s", 0.0)
    monkeypatch.setattr(NodePowerLost, "injected", lambda self, cluster, drill: False)
    with pytest.raises(UnknownError, match=f"power of {first}: not seen broken within 0 s"):
        fault.inject(world, DRILL)
    assert world.bmcs[first].sent == ["ForceOff"] and world.bmcs[second].sent == []


# -- kernels


def panic(world: FakeCluster) -> str:
    return (world.nodes["node1"].folder / "proc/sys/kernel/panic").read_text().strip()


def test_a_crash_sets_when_the_kernel_starts_anew_and_puts_it_back(world: FakeCluster) -> None:
    (world.nodes["node1"].folder / "proc/sys/kernel/panic").write_text("30\n")
    fault = lost(KernelCrash, world)
    handles = fault.arm(world, DRILL)
    assert panic(world) == "10"
    fault.disarm(world, DRILL, {})  # as after a harness that was killed before it could note them
    assert panic(world) == "30"
    assert not fault.armed(world, DRILL, handles)


def test_a_hang_leaves_the_kernel_nothing_to_start_anew_by(world: FakeCluster) -> None:
    (world.nodes["node1"].folder / "proc/sys/kernel/panic").write_text("30\n")
    fault = lost(KernelHang, world)
    fault.inject(world, DRILL)
    assert panic(world) == "0" and fault.injected(world, DRILL)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 61.0])
def test_a_crash_that_would_not_come_back_in_time_is_refused(world: FakeCluster, seconds: float) -> None:
    with pytest.raises(FaultError, match="panic_s"):
        lost(KernelCrash, world, panic_s=seconds)


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("sys/class/watchdog/watchdog0/state", "inactive", "PF-WATCHDOG.*none is active"),
        ("sys/class/watchdog/watchdog0/identity", "Software Watchdog", "PF-WATCHDOG.*dies with the kernel"),
        ("sys/kernel/kexec_crash_loaded", "1", "PF-KDUMP"),
    ],
)
def test_a_hang_that_nothing_would_end_is_not_applicable(
    world: FakeCluster, file: str, text: str, reason: str
) -> None:
    (world.nodes["node1"].folder / file).write_text(f"{text}\n")
    with pytest.raises(NotApplicableError, match=reason):
        lost(KernelHang, world).check(world)
    lost(KernelCrash, world).check(world)


# -- rings


def test_a_cut_is_one_against_all_others_on_every_ring(world: FakeCluster) -> None:
    fault = CorosyncCut.draw(world, Random(2))
    others = {spec.name for spec in world.site.nodes} - {fault.node}
    assert set(fault.peers) == others and len(fault.paths) == 2 * len(others)
    assert fault.silenced == (fault.node,)


def test_a_cut_node_that_reset_itself_is_waited_for(world: FakeCluster) -> None:
    fault = CorosyncCut.draw(world, Random(2))
    with engine(world).fault(fault) as window:
        world.nodes[fault.node].dead = True
        world.bmcs[fault.node].state = "Off"
    assert window.healed_by == "the harness" and world.bmcs[fault.node].sent == ["On"]


def test_with_all_rings_down_everybody_is_alone(world: FakeCluster) -> None:
    fault = AllRingsDown.draw(world, Random(1))
    pairs = {(part.node, peer) for part in fault.parts for peer in part.peers}  # type: ignore[attr-defined]
    assert len(pairs) == 6
    assert set(fault.silenced) == set(world.nodes)


# -- BMCs


def test_the_harness_keeps_its_way_to_a_bmc_that_is_cut(world: FakeCluster) -> None:
    fault = NodeLostBmcUnreachable.aimed(world, "node3", Random(1))
    with engine(world).fault(fault):
        for peer in ("node1", "node2"):
            ask = "curl --silent https://10.9.0.13:8443/redfish/v1/"
            assert not world.nodes[peer].run(ask, check=False).ok
            assert world.nodes[peer].run("curl --silent https://10.9.0.11:8443/redfish/v1/", check=False).ok
        assert world.bmcs["node3"].power_state() == "Off"
    assert world.bmcs["node3"].sent == ["ForceOff", "On"]


@pytest.mark.parametrize("kind", [NodeLostBmcUnreachable, NodeLostBmcWrongPassword])
def test_power_is_cut_once_its_bmc_is_lost_and_times_count_from_there(
    world: FakeCluster, kind: type[Several], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = kind.aimed(world, "node3", Random(1))
    *met, power = fault.parts
    drills = []
    inject = kind.inject

    def seen(self: Several, cluster: FakeCluster, drill: str) -> None:
        drills.append(drill)
        assert all(part.injected(cluster, f"{drill}p{n}") for n, part in enumerate(met))
        assert not power.injected(cluster, f"{drill}p{len(met)}")
        inject(self, cluster, drill)

    monkeypatch.setattr(kind, "inject", seen)
    with engine(world).fault(fault) as window:
        assert drills == [window.drill]
        assert power.injected(world, f"{window.drill}p{len(met)}")
    assert fault.healed(world)


def test_a_bmc_that_peers_do_not_reach_anyway_is_not_applicable(world: FakeCluster) -> None:
    fault = BmcUnreachable.aimed(world, "node3", Random(1))
    program = world.nodes["node1"].folder / "bin/curl"
    program.write_text("#!/bin/sh\nexit 28\n")
    with pytest.raises(NotApplicableError, match=r"node1 does not reach the BMC at 10\.9\.0\.13"):
        fault.check(world)
    (world.nodes["node2"].folder / "bin/ip").write_text("#!/bin/sh\nexit 2\n")
    with pytest.raises(NotApplicableError, match="PF-BMC-ROUTE: node2"):
        BmcUnreachable.aimed(world, "node3", Random(1))


def test_a_wrong_password_is_one_that_the_node_holds_anyway_and_nothing_on_disk_changes(
    world: FakeCluster,
) -> None:
    fault = BmcWrongPassword.aimed(world, "node3", Random(1))
    kept = world.nodes["node1"].folder / "fencing/fencing.json"
    before = kept.read_text()
    with engine(world).fault(fault):
        assert kept.read_text() == before
        drop_in = world.nodes["node1"].folder / "ceph/units/rackproof-fencing.service.d/rackproof-wrong.conf"
        source = drop_in.read_text().split("=")[1].partition(":")[0]
        entries = {peer["name"]: peer for peer in json.loads(Path(source).read_text())["peers"]}
        assert entries["node3"]["password"] == entries["node3"]["user"]
        assert entries["node2"]["password"].endswith("ipmi_password"), "only the victim's is wrong"
        assert said(world, "node1") == {"node2": "armed", "node3": "refused"}
        assert said(world, "node3") == {"node1": "armed", "node2": "armed"}, "nobody fences itself"
    assert said(world, "node1") == {"node2": "armed", "node3": "armed"}
    assert all(bmc.sent == [] for bmc in world.bmcs.values())


def said(world: FakeCluster, node: str) -> dict[str, str]:
    record = (world.nodes[node].folder / "fencing/record").read_text()
    return {peer: last_said(record, peer).decision for peer in sorted(world.nodes) if peer != node}


def test_a_bmc_that_locks_accounts_is_spared_wrong_passwords(world: FakeCluster) -> None:
    world.bmcs["node3"].locks_after = 3
    for kind in (BmcWrongPassword, NodeLostBmcWrongPassword):
        with pytest.raises(NotApplicableError, match=r"PF-BMC-LOCKOUT.*after 3 wrong passwords"):
            kind.aimed(world, "node3", Random(1)).check(world)


def test_fencing_that_is_not_armed_cannot_be_disarmed(world: FakeCluster) -> None:
    fault = BmcWrongPassword.aimed(world, "node3", Random(1))
    record = world.nodes["node2"].folder / "fencing/record"
    line = '{"peer": "node3", "decision": "refused", "reason": "it does not answer"}\n'
    record.write_text(record.read_text() + line)
    with pytest.raises(RefusedError, match="says of node3: refused"):
        fault.check(world)
    (world.nodes["node1"].folder / "ceph/services" / compute_programs.FENCING).write_text("inactive\n")
    with pytest.raises(NotApplicableError, match="PF-FENCING: node1 does not run"):
        fault.check(world)


ARMED, WAITS = (f'{{"peer": "node1", "decision": "{word}", "reason": "r"}}\n' for word in ("armed", "waits"))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", "nothing"),
        (ARMED + WAITS.replace("node1", "node2"), "armed"),
        (ARMED + WAITS + ARMED[:20], "waits"),
        ('[]\nnull\n{"peer": "node1"}\n', "nothing"),
    ],
)
def test_the_last_word_counts(lines: str, expected: str) -> None:
    assert last_said(lines, "node1").decision == expected


def test_being_refused_for_another_reason_is_no_wrong_password(world: FakeCluster) -> None:
    (part, _) = BmcWrongPassword.aimed(world, "node3", Random(1)).parts
    part.inject(world, DRILL)
    assert part.injected(world, DRILL)
    record = world.nodes[part.nodes[0]].folder / "fencing/record"
    record.write_text('{"peer": "node3", "decision": "refused", "reason": "this node has no quorum"}\n')
    assert not part.injected(world, DRILL)


# -- guests


def test_a_guest_s_process_is_killed_and_no_other(world: FakeCluster) -> None:
    fault = GuestCrash.of(world, "beat-ct")
    assert (fault.node, fault.sid) == ("node1", "ct:9001")
    with engine(world).fault(fault):
        assert world.nodes["node1"].run("pct status 9001").stdout == "status: stopped\n"
        assert world.nodes["node2"].run("qm status 9002").stdout == "status: running\n"
    assert world.nodes["node1"].run("pct status 9001").stdout == "status: running\n"


def test_a_guest_that_moved_away_is_not_started_where_it_was(world: FakeCluster) -> None:
    fault = GuestCrash.of(world, "beat-ct")
    nodes = world.nodes
    with engine(world).fault(fault):
        shutil.move(
            nodes["node1"].folder / "pve/local/lxc/9001.conf", nodes["node3"].folder / "pve/local/lxc"
        )
        nodes["node3"].run("pct start 9001")
    assert nodes["node1"].run("pct status 9001").stdout == "status: stopped\n"
    assert GuestCrash.of(world, "beat-ct").node == "node3"


def test_a_guest_that_does_not_run_is_refused_and_one_that_is_not_built_not_applicable(
    world: FakeCluster,
) -> None:
    fault = GuestCrash.of(world, "beat-vm")
    (world.nodes["node2"].folder / "guests/9002.pid").unlink()
    with pytest.raises(RefusedError, match="does not run there"):
        fault.check(world)
    (world.nodes["node2"].folder / "pve/local/qemu-server/9002.conf").unlink()
    with pytest.raises(NotApplicableError, match="PF-GUEST-NONE: there is no guest vm:9002"):
        GuestCrash.of(world, "beat-vm")
    world.site = world.site.model_copy(update={"guests": ()})
    with pytest.raises(NotApplicableError, match="PF-GUEST-NONE: the site orders no guest"):
        GuestServiceDead.draw(world, Random(1))


def test_only_a_container_s_service_can_be_stopped_from_its_node(world: FakeCluster) -> None:
    assert GuestServiceDead.candidates(world.site) == ("beat-ct",)
    assert GuestCrash.candidates(world.site) == ("beat-ct", "beat-vm")


@pytest.fixture
def container() -> Iterator[list[str]]:
    """A process namespace with a first process and two others; the words that put a command into it."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes a process namespace")
    script = "/bin/sleep 300 & /bin/sleep 300 & echo ready; wait"
    made = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "/bin/sh", "-c", script],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert made.stdout is not None and made.stdout.readline() == "ready\n"
        children = Path(f"/proc/{made.pid}/task/{made.pid}/children").read_text().split()
        yield ["nsenter", "--pid", "--mount", "--target", children[0], "/bin/sh", "-c"]
    finally:
        made.kill()
        made.wait(timeout=10)
        assert made.stdout is not None
        made.stdout.close()


def test_stop_leaves_the_first_process_alone_and_continue_mends_it(container: list[str]) -> None:
    """The very words that are said in a container, in a process namespace of this machine."""

    def within(script: str) -> str:
        return subprocess.run(
            [*container, script], capture_output=True, text=True, timeout=20, check=True
        ).stdout

    def counted(wanted: str) -> bool:
        """A signal comes into force when the kernel next runs its process."""
        until = time.monotonic() + 20
        while within(guest_module._COUNT) != wanted:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True

    assert counted("0 2\n")
    within("kill -STOP -1")
    assert counted("2 0\n")
    assert within("read -r line < /proc/1/stat; echo ${line##*) }").split()[0] != "T"
    within("kill -CONT -1")
    assert counted("0 2\n")


# -- maintenance, and what the guard looks for


def test_maintenance_needs_every_node_at_work(world: FakeCluster) -> None:
    (world.nodes["node1"].folder.parent / "ha/node2").touch()
    with pytest.raises(RefusedError, match="managers of node2 do not work"):
        NodeMaintenance(node="node1").check(world)
    world.site = world.site.model_copy(update={"ha": None})
    assert NodeMaintenance.candidates(world.site) == ()
    with pytest.raises(NotApplicableError, match="PF-HA-NONE"):
        NodeMaintenance(node="node1").check(world)


def test_a_late_process_that_still_waits_keeps_the_next_fault_away(world: FakeCluster) -> None:
    fault: Fault = lost(NodePowerLost, world)
    folder = late.late_folder(world.site)
    folder.mkdir(parents=True)
    (folder / "dead.power").write_text("{}")  # nobody holds it
    waiting = subprocess.Popen(
        ["flock", str(folder / "0a1b.power"), "sh", "-c", "echo held; read -r line"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with waiting:
        assert waiting.stdout is not None and waiting.stdout.readline() == "held\n"
        with pytest.raises(RefusedError, match=r"processes of 0a1b\.power still wait on the controller"):
            engine(world).begin(fault)
    with engine(world).fault(fault):
        pass

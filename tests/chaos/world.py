"""A fake cluster for chaos: the lab's site, nodes whose scripts are run by a real shell against fake
programs, switches.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.faults import bmc_password, disk, guest, kernel, lost, storage
from chaos.faults import node as node_module
from cluster import deadman
from cluster.errors import UnreachableError
from cluster.node import CommandError, Result
from cluster.site import Site, load
from cluster.site_services import Guest, Ha
from tests.chaos import ceph_programs, compute_programs, programs, traffic_programs
from tests.chaos.fake_ceph import FakeCeph, FakeHands
from tests.chaos.fake_power import FakeBmc, FakePower

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(programs.__file__)
PROGRAM = '#!/bin/sh\nexec {python} -S -I -X frozen_modules=on {path} "$@"\n'
NAMES = ("ip", "tc", "systemctl", "systemd-run", "modprobe", "sleep")
KILL = 'kill() { "$WORLD/bin/kill" "$@"; }\n'
"""The shell's own would kill processes of this machine."""
HA = Ha.model_validate({"fencing": "watchdog", "recovery": "3 minutes"})
GUESTS = tuple(
    Guest.model_validate(
        {
            "name": name, "kind": kind, "vmid": vmid, "network": "vlan1", "storage": "rbd-vms",
            "address": f"10.1.0.{vmid - 8800}/24", "memory": "64MiB", "ha": {},
        }
    )
    for name, kind, vmid in (("beat-ct", "container", 9001), ("beat-vm", "vm", 9002))
)  # fmt: skip


@dataclass
class Port:
    admin_up: bool = True
    up: bool = True


class FakeNode:
    """A node; it does not answer while no leg of its bond passes frames."""

    def __init__(self, spec: Any, folder: Path, names: tuple[str, ...]) -> None:
        self.name = spec.name
        self.folder = folder
        self.dead = False
        (folder / "timers").mkdir(parents=True)
        (folder / "bin").mkdir()
        for name in NAMES:
            program = folder / "bin" / name
            program.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I {folder}/bin/.p/{name} "$@"\n')
            program.chmod(0o755)
        (folder / "bin" / ".p").mkdir()
        for name in NAMES:
            (folder / "bin" / ".p" / name).symlink_to(PROGRAMS)
        legs = {
            f"eth{n}": {
                "mac": link.mac, "admin": True, "light": True, "was_up": True, "failures": 0, "queues": []
            }
            for n, link in enumerate(spec.links)
        }  # fmt: skip
        self.write({"active": "eth0", "legs": legs})
        ceph_programs.install(folder)
        ring = {"ring0": str(spec.ring.address)} if spec.ring else {}
        traffic_programs.install(folder, {"bond0.6": str(spec.address), **ring})
        compute_programs.install(folder, spec.name, names)

    def state(self) -> dict[str, Any]:
        net: dict[str, Any] = json.loads((self.folder / "net.json").read_text())
        return net

    def write(self, net: dict[str, Any]) -> None:
        (self.folder / "net.json").write_text(json.dumps(net))

    def light(self, mac: str, on: bool) -> None:
        net = self.state()
        for leg in net["legs"].values():
            if leg["mac"] == mac:
                leg["light"] = on
        programs.settle(net)
        self.write(net)

    def answers(self) -> bool:
        net = self.state()
        if self.dead or compute_programs.crashed(self.folder) or net["active"] is None:
            return False
        return not net["legs"][net["active"]]["queues"]

    def reachable(self, timeout: float = 5) -> bool:
        return self.answers()

    def run(
        self, command: str, *args: str, timeout: float = 30, check: bool = True, data: str | None = None
    ) -> Result:
        if not self.answers():
            raise UnreachableError(f"{self.name} did not answer")
        line = command % tuple(shlex.quote(arg) for arg in args) if args else command
        done = self._shell(line, data)
        if check and done.rc != 0:
            raise CommandError(f"{self.name}: `{line[:60]}` failed with {done.rc}: {done.stderr}", done)
        return done

    def seen(self) -> dict[str, Any]:
        """All that can be broken here: network, Ceph's daemons, drives and limits, traffic, clock, kernel,
        guests, the fencing service.
        """
        return {
            **self.state(), **ceph_programs.state(self.folder), **traffic_programs.seen(self.folder),
            **compute_programs.seen(self.folder),
        }  # fmt: skip

    def start(self) -> None:
        """Power has come back."""
        self.dead = False
        compute_programs.start(self.folder)

    def fire(self) -> None:
        """Let the time of every armed timer pass."""
        for timer in sorted((self.folder / "timers").iterdir()):
            command = json.loads(timer.read_text())
            timer.unlink()
            self._shell(shlex.join(command), None)

    def timers(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "timers").iterdir())

    def _shell(self, line: str, data: str | None) -> Result:
        env = {**os.environ, "WORLD": str(self.folder), "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        done = subprocess.run(
            ["/bin/sh", "-c", KILL + line],
            input=data or "",
            capture_output=True,
            text=True,
            env=env,
            timeout=30,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr, 0.0)


class FakeSwitch:
    """A switch whose ports carry the light of the nodes' legs."""

    def __init__(self, name: str, cables: dict[str, tuple[FakeNode, str]]) -> None:
        self.name = name
        self._cables = cables
        self._ports = {port: Port() for port in cables}
        self._jobs: dict[str, str] = {}
        self._count = 0

    def ports(self) -> dict[str, Port]:
        return self._ports

    def shutdown(self, port: str) -> None:
        self._set(port, False)

    def undo_shutdown(self, port: str) -> None:
        self._set(port, True)

    def arm_undo(self, port: str, seconds: float) -> str:
        self._count += 1
        self._jobs[f"rackproof-{self._count:08x}"] = port
        return f"rackproof-{self._count:08x}"

    def armed(self) -> list[str]:
        return sorted(self._jobs)

    def disarm(self, job: str) -> None:
        self._jobs.pop(job, None)

    def fire(self) -> None:
        for port in self._jobs.values():
            self._set(port, True)

    def _set(self, port: str, up: bool) -> None:
        self._ports[port] = Port(up, up)
        node, mac = self._cables[port]
        node.light(mac, up)


class FakePve:
    """One node's API, as far as it is asked."""

    def __init__(self, answers: Any) -> None:
        self._answers = answers

    def call(self, method: str, path: str, **params: Any) -> Any:
        assert (method, path) == ("get", "cluster/ha/status/current")
        return self._answers()


class FakeCluster:
    """The lab's site with everything behind it faked; `sleep` lets time pass: every armed switch fires."""

    def __init__(self, folder: Path) -> None:
        lab = load(ROOT / "sites" / "lab.toml")
        self.site: Site = lab.model_copy(update={"ha": HA, "guests": GUESTS})
        names = tuple(spec.name for spec in self.site.nodes)
        self.nodes = {spec.name: FakeNode(spec, folder / spec.name, names) for spec in self.site.nodes}
        self.bmcs = {name: FakeBmc(node) for name, node in self.nodes.items()}
        self.late_power = FakePower(self.nodes, self.bmcs)
        sids = tuple(each.sid for each in GUESTS)
        for name, sid in zip(names, sids, strict=False):
            compute_programs.add_guest(folder / name, sid)
        api = FakePve(lambda: compute_programs.ha_status(folder, names, sids))
        self.pve = dict.fromkeys(names, api)
        self.switches = {
            table.name: FakeSwitch(
                table.name,
                {
                    link.port: (self.nodes[spec.name], link.mac)
                    for spec in self.site.nodes
                    for link in spec.links
                    if link.switch == table.name
                },
            )
            for table in self.site.switches
        }
        number = 0
        for spec in self.site.nodes:
            for daemon in ("mon", "mgr", "mds"):
                ceph_programs.add_daemon(folder / spec.name, daemon, spec.name)
            for serial in spec.data_drives:
                ceph_programs.add_osd(folder / spec.name, number, serial)
                number += 1
        self.ceph = FakeCeph(folder, tuple(self.nodes))
        self.hands = FakeHands(folder)

    def fire(self) -> None:
        self.hands.fire()
        self.late_power.fire()
        for node in self.nodes.values():
            node.fire()
        for switch in self.switches.values():
            switch.fire()

    def sleep(self, seconds: float) -> None:
        self.fire()

    def switches_left(self) -> list[str]:
        """Dead-man's switches that are still armed anywhere."""
        on_nodes = [unit for node in self.nodes.values() for unit in node.timers()]
        on_switches = [job for switch in self.switches.values() for job in switch.armed()]
        return on_nodes + on_switches + self.hands.armed_pushes() + self.late_power.armed_starts()


def relocate(monkeypatch: Any, folder: Path) -> None:
    """Have the dead-man's switch and detached breaks keep their files under `folder` and not in /run."""
    monkeypatch.setattr(deadman, "FOLDER", str(folder))
    monkeypatch.setattr(node_module, "FOLDER", str(folder))
    monkeypatch.setattr(storage, "UNITS", "$WORLD/ceph/units")  # each node's shell has a WORLD of its own
    monkeypatch.setattr(disk, "SYS", "$WORLD/ceph/sys")
    monkeypatch.setattr(disk, "OSDS", "$WORLD/ceph/osd")
    monkeypatch.setattr(lost, "PROC", "$WORLD/proc")
    monkeypatch.setattr(kernel, "SYS", "$WORLD/sys")
    monkeypatch.setattr(guest, "PVE", "$WORLD/pve")
    monkeypatch.setattr(guest, "QEMU", "$WORLD/guests")
    monkeypatch.setattr(bmc_password, "CONFIG", "$WORLD/fencing/fencing.json")
    monkeypatch.setattr(bmc_password, "RECORD", "$WORLD/fencing/record")

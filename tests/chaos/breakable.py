"""A fault whose target is a folder, so that it outlives the process that broke it, as a node would."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, Self

from chaos.bond_state import BondState, Member
from chaos.fault import Fault
from cluster.errors import RackproofError, UnreachableError


class UnhealableError(RackproofError):
    """Healing was refused."""


@dataclass(frozen=True, kw_only=True)
class Breakable(Fault):
    """Broken is a file `broken`; its switch a file `armed`. `fail` names the method that raises, `kill`
    the step before which the process kills itself."""

    kind = "breakable"
    summary = needs_text = blast_radius = heals_by = deadman = "a folder"
    needs = ("a folder",)

    folder: str
    fail: str = ""
    kill: str = ""
    deadman_s: float = 5.0

    @property
    def target(self) -> str:
        return "the folder"

    @property
    def nodes(self) -> tuple[str, ...]:
        return ("node1",)

    @classmethod
    def draw(cls, cluster: Any, random: Random) -> Self:
        return cls(folder=str(cluster.folder))

    def check(self, cluster: Any) -> None:
        self._step("check")

    def arm(self, cluster: Any, drill: str) -> Mapping[str, str]:
        self._step("arm")
        self._file("armed").touch()
        self._step("after-arm")
        return {"unit": drill}

    def armed(self, cluster: Any, drill: str, handles: Mapping[str, str]) -> bool:
        return self._file("armed").exists() and self.fail != "armed"

    def disarm(self, cluster: Any, drill: str, handles: Mapping[str, str]) -> bool:
        self._step("disarm")
        was = self._file("armed").exists()
        self._file("armed").unlink(missing_ok=True)
        return was

    def fired(self, cluster: Any, drill: str) -> bool:
        return self._file("fired").exists()

    def prepare(self, cluster: Any, drill: str) -> None:
        self._step("prepare")

    def inject(self, cluster: Any, drill: str) -> None:
        self._step("inject")
        assert self._file("armed").exists(), "broken before the switch was armed"
        assert cluster.journal_text(), "broken before the journal was written"
        self._file("broken").touch()
        self._step("after-inject")

    def injected(self, cluster: Any, drill: str) -> bool:
        return self._file("broken").exists() and self.fail != "injected"

    def heal(self, cluster: Any, drill: str) -> None:
        self._step("heal")
        self._file("broken").unlink(missing_ok=True)
        self._step("after-heal")

    def healed(self, cluster: Any) -> bool:
        return not self._file("broken").exists()

    def _file(self, name: str) -> Path:
        return Path(self.folder, name)

    def _step(self, name: str) -> None:
        if self.kill == name and not self._file("killed").exists():
            self._file("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fail == name:
            raise UnhealableError(f"{name} was refused")
        if self.fail == f"unreachable-{name}":
            raise UnreachableError(f"{name}: no answer")


class Isolating(Breakable):
    """As `Breakable`, but its target may be cut off."""

    kind = "isolating"
    may_isolate = True


class Alone(Breakable):
    """As `Breakable`, but only its own switch may heal it."""

    kind = "alone"
    may_isolate = True
    alone = True


KNOWN: dict[str, type[Fault]] = {each.kind: each for each in (Breakable, Isolating, Alone)}


class Folder:
    """A cluster of nothing but that folder. `sleep` lets the switch's time pass."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: dict[str, Any] = {}
        self.switches: dict[str, Any] = {}
        self.bmcs: dict[str, Any] = {}
        self.site = SimpleNamespace(name="folder", bond=SimpleNamespace(name="bond0"))
        self.journal = folder / "journal"

    def journal_text(self) -> bytes:
        return self.journal.read_bytes() if self.journal.exists() else b""

    def sleep(self, seconds: float) -> None:
        self.fire()

    def fire(self) -> None:
        """The switch's time passes."""
        if (self.folder / "armed").exists():
            (self.folder / "armed").unlink()
            (self.folder / "fired").touch()
            (self.folder / "broken").unlink(missing_ok=True)


def bond(*legs: Member, mode: str = "active-backup", active: str | None = "eth0", **more: Any) -> BondState:
    """A bond state with sensible values but for those given."""
    values: dict[str, Any] = {
        "name": "bond0", "mode": mode, "miimon": 100, "updelay": 200, "downdelay": 0, "arp_interval": 0,
        "arp_missed_max": 2, "lacp_rate": None, "active": active, "ad_ports": None, "ad_partner": None,
    }  # fmt: skip
    members = legs or (leg("eth0"), leg("eth1"))
    return BondState(**{**values, **more}, members=members)


def leg(name: str, **more: Any) -> Member:
    """A sound leg but for what is given."""
    values: dict[str, Any] = {
        "mac": f"52:54:00:00:00:0{name[-1]}", "admin_up": True, "carrier": True, "mii_up": True,
        "active": name == "eth0", "failures": 0,
    }  # fmt: skip
    return Member(name, **{**values, **more})

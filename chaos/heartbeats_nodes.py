"""Watches what really runs on one node, eight times a second, and what its BMC says while it is silent.

A shell program on the node (`heartbeats_places.sh`) streams it over a connection of its own and goes on
looking while the node is cut off; what it saw then arrives later, if the node lives to send it.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chaos.heartbeats_lives import SAME_RESET_S
from chaos.heartbeats_record import SECOND, Event, HaState, Power, Sight, Trouble
from chaos.heartbeats_stream import OPTIONS, QUIET_S, Far, Placing, Stream
from chaos.ports import BmcPort, NodePort
from cluster.errors import RackproofError
from cluster.site_services import Guest

TICK_NS = 10_000_000  # /proc/uptime counts hundredths
SPLIT_NS = SECOND
"""Samples further apart than this are no one stretch."""
LONGEST_NS = 10 * SECOND
"""A stretch is written down at least so often."""
SILENT_S = 3.0
"""A node that is not heard of for so long may be off: its BMC is asked."""
POWER_S = 2.0
_PROGRAM = Path(__file__).with_name("heartbeats_places.sh")
Keep = Callable[[Event], None]


class Stretch:
    """Joins samples of one node that show the same to one `Sight`. Not for use by several threads."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._open: Sight | None = None

    def add(self, sight: Sight) -> None:
        """One sample, later than those before."""
        known = self._open
        if known is not None and _same(known, sight):
            self._open = replace(
                known,
                last_lo_ns=sight.last_lo_ns,
                last_hi_ns=sight.last_hi_ns,
                samples=known.samples + 1,
                widest_ns=max(known.widest_ns, sight.last_hi_ns - known.last_lo_ns),
            )
            return
        self.close()
        self._open = sight

    def close(self) -> None:
        """No more samples join what is open: it is handed on."""
        if self._open is not None:
            self._keep(self._open)
        self._open = None

    def shown(self) -> Sight | None:
        """What is open, as far as it goes."""
        return self._open


def _same(known: Sight, sight: Sight) -> bool:
    return (
        (known.kernel, known.running) == (sight.kernel, sight.running)
        and sight.last_hi_ns - known.last_lo_ns <= SPLIT_NS
        and sight.last_hi_ns - known.first_lo_ns <= LONGEST_NS
    )


class NodeWatch:
    """One node. `keep` is told of everything; `shown()` is what was seen last and not yet handed on."""

    def __init__(
        self,
        node: NodePort,
        bmc: BmcPort | None,
        guests: Mapping[int, Guest],
        keep: Keep,
        interval_s: float,
        limit_s: float,
        root: str = "",
    ) -> None:
        self.name = node.name
        self._node, self._bmc, self._guests, self._keep = node, bmc, guests, keep
        self._settings = _settings(guests, interval_s, limit_s, root)
        self._lock = threading.Lock()
        self._stretch = Stretch(keep)
        self._kernel, self._early = "", 0
        self._started: tuple[int, int] | None = None
        self._parts: dict[int, str] = {}
        self._power, self._reset_s = "", math.nan
        self._stopping = threading.Event()
        self._stream = Stream(node.name, self._begin, self._take, self._lost, TICK_NS)
        self._asking = threading.Thread(target=self._ask_power, daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._stream.start()
        if self._bmc is not None:
            self._asking.start()

    def close(self) -> None:
        """End it; what was seen last is handed on."""
        self._stopping.set()
        self._stream.close()
        if self._asking.ident is not None:
            self._asking.join(10.0)
        with self._lock:
            self._stretch.close()

    def shown(self) -> Sight | None:
        """What is seen now, as far as it goes."""
        with self._lock:
            return self._stretch.shown()

    def _begin(self) -> Far:
        line = self._node.argv("exec bash -s", multiplexed=False, options=OPTIONS)
        return Far(self.name, line, (self._settings + _PROGRAM.read_text(encoding="utf-8")).encode())

    def _lost(self, why: str) -> None:
        with self._lock:
            self._stretch.close()
        self._keep(Trouble(self.name, time.monotonic_ns(), why))

    def _take(self, _: str, kind: str, text: str, told_ns: int, clock: Placing) -> None:
        if kind == "kernel":
            self._kernel, early = text.split()
            self._early, self._started = int(early), None
        elif kind == "runs":
            self._runs(text, told_ns, clock)
        elif kind == "ha":
            self._ha(text, told_ns, clock)

    def _runs(self, text: str, told_ns: int, clock: Placing) -> None:
        before, after, *words = text.split()
        begun, ended = clock.place(int(before), told_ns), clock.place(int(after), told_ns)
        started = clock.started()
        if begun is None or ended is None or started is None:
            return  # clocks were not compared yet: where this lies is not known
        if self._started is None or started[1] - started[0] < self._started[1] - self._started[0]:
            self._started = started  # the first comparison may have waited for the connection
        lo, hi = begun[0], ended[1]
        running = {
            self._guests[int(number)].name: instance
            for number, _, instance in (w.partition("=") for w in words)
        }
        with self._lock:
            self._stretch.add(
                Sight(self.name, self._kernel, *self._started, lo, hi, lo, hi, 1, 0, running, self._early)
            )

    def _ha(self, text: str, told_ns: int, clock: Placing) -> None:
        stamp, part, parts, piece = text.split(" ", 3)
        if part == "0":
            self._parts.clear()
        self._parts[int(part)] = piece
        placed = clock.place(int(stamp), told_ns)
        if len(self._parts) < int(parts) or placed is None:
            return
        try:
            status = json.loads("".join(self._parts[number] for number in sorted(self._parts)))
        except ValueError:
            return  # it was being written
        self._keep(ha_state(self.name, *placed, status))

    def _ask_power(self) -> None:
        self._ask()  # when it was last reset: known before it is, or nobody could tell that it was
        while not self._stopping.wait(POWER_S):
            if self._stream.silent_s >= SILENT_S:
                self._ask()

    def _ask(self) -> None:
        assert self._bmc is not None
        asked, state, reset_s, why = time.monotonic_ns(), "", None, ""
        try:
            state, reset_s = self._bmc.power_and_reset()
        except RackproofError as error:
            why = str(error)
        self._keep(Power(self.name, asked, time.monotonic_ns(), state, why, reset_s))
        if over := self._ended(state, reset_s):
            self._stream.renew(over)

    def _ended(self, state: str, reset_s: float | None) -> str:
        """How the BMC says that the kernel ended which ran when it was asked before; "" where it does not."""
        off = state == "Off" and self._power not in ("", "Off")
        reset = reset_s is not None and abs(reset_s - self._reset_s) > SAME_RESET_S
        self._power = state or self._power
        self._reset_s = self._reset_s if reset_s is None else reset_s
        return "its BMC says Off" if off else "its BMC says that it was reset" if reset else ""


def ha_state(by: str, lo_ns: int, hi_ns: int, status: Mapping[str, Any]) -> HaState:
    """What /etc/pve/ha/manager_status says, as Proxmox VE 9 writes it."""
    services = {
        str(sid): (str(each.get("node", "")), str(each.get("state", "")))
        for sid, each in (status.get("service_status") or {}).items()
    }
    nodes = {str(name): str(state) for name, state in (status.get("node_status") or {}).items()}
    return HaState(by, lo_ns, hi_ns, str(status.get("master_node", "")), nodes, services)


def _settings(guests: Mapping[int, Guest], interval_s: float, limit_s: float, root: str) -> str:
    numbers = {
        kind: " ".join(str(number) for number, guest in guests.items() if guest.kind == kind)
        for kind in ("container", "vm")
    }
    return (
        f'CONTAINERS="{numbers["container"]}" MACHINES="{numbers["vm"]}" ROOT="{root}"\n'
        f"INTERVAL={interval_s:.3f} LIMIT={limit_s:.0f} QUIET={QUIET_S:.0f}\n"
    )

"""Faults that are in at once: what one failure alone does not show. The parts are faults of their own, each
with its own dead-man's switch; they are broken one after the other, and healed all at once.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from chaos.bond_state import BondState
from chaos.fault import Fault
from chaos.ports import ClusterPort
from chaos.predict import Prediction
from cluster.errors import UnknownError

_POLL_S = 0.5
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Several(Fault):
    """A fault of several parts. Each part has a drill id of its own, made of the whole's."""

    only_last_counts: ClassVar[bool] = False
    """True where the last part is the break, and the others are what it meets."""

    @property
    @abstractmethod
    def parts(self) -> tuple[Fault, ...]:
        """What it is made of, in the order in which it is broken; one at least."""

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(node for part in self.parts for node in part.nodes))

    @property
    def silenced(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(node for part in self.parts for node in part.silenced))

    def check(self, cluster: ClusterPort) -> None:
        for part in self.parts:
            part.check(cluster)

    def arm(self, cluster: ClusterPort, drill: str) -> Mapping[str, str]:
        handles = self._each(lambda part, own: part.arm(cluster, own), drill)
        return {f"{n}.{key}": text for n, found in enumerate(handles) for key, text in found.items()}

    def armed(self, cluster: ClusterPort, drill: str, handles: Mapping[str, str]) -> bool:
        return all(self._each(lambda part, own: part.armed(cluster, own, _of(handles, own)), drill))

    def disarm(self, cluster: ClusterPort, drill: str, handles: Mapping[str, str]) -> bool:
        return all(self._each(lambda part, own: part.disarm(cluster, own, _of(handles, own)), drill))

    def fired(self, cluster: ClusterPort, drill: str) -> bool:
        return any(self._each(lambda part, own: part.fired(cluster, own), drill))

    def prepare(self, cluster: ClusterPort, drill: str) -> None:
        """Raises `UnknownError` as `inject`."""
        for n, part in enumerate(self.parts):
            part.prepare(cluster, _own(drill, n))
        self._break(cluster, drill, range(self._met))

    def inject(self, cluster: ClusterPort, drill: str) -> None:
        """Raises `UnknownError` where a part is not seen broken, before the next is broken."""
        self._break(cluster, drill, range(self._met, len(self.parts)))

    @property
    def _met(self) -> int:
        """How many parts are in before the break."""
        return len(self.parts) - 1 if self.only_last_counts else 0

    def _break(self, cluster: ClusterPort, drill: str, which: range) -> None:
        for n in which:
            part = self.parts[n]
            part.inject(cluster, _own(drill, n))
            deadline = time.monotonic() + part.inject_s
            while not part.injected(cluster, _own(drill, n)):
                if time.monotonic() > deadline:
                    raise UnknownError(f"{part.target}: not seen broken within {part.inject_s:g} s")
                time.sleep(_POLL_S)

    def injected(self, cluster: ClusterPort, drill: str) -> bool:
        return all(self._each(lambda part, own: part.injected(cluster, own), drill))

    def heal(self, cluster: ClusterPort, drill: str) -> None:
        self._each(lambda part, own: part.heal(cluster, own), drill)

    def healed(self, cluster: ClusterPort) -> bool:
        return all(self._each(lambda part, _: part.healed(cluster), ""))

    def proven(self, cluster: ClusterPort, drill: str) -> None:
        self._each(lambda part, own: part.proven(cluster, own), drill)

    def predicted(self, bonds: Mapping[str, BondState]) -> Prediction | None:
        """The worst of the parts'; one that no model covers leaves the whole without."""
        found = [part.predicted(bonds) for part in self.parts]
        known = [each for each in found if each is not None]
        if len(known) < len(found):
            return None
        return max(known, key=lambda each: float("inf") if each.most_s is None else each.most_s)

    def may_fail(self, bonds: Mapping[str, BondState]) -> frozenset[tuple[str, str]]:
        return frozenset().union(*(part.may_fail(bonds) for part in self.parts))

    def _each(self, call: Callable[[Fault, str], _T], drill: str) -> list[_T]:
        """`call(part, its drill)` of all parts at once; every one is tried before the first error is
        raised.
        """
        with ThreadPoolExecutor(max_workers=len(self.parts)) as pool:
            waiting = [pool.submit(call, part, _own(drill, n)) for n, part in enumerate(self.parts)]
        return [each.result() for each in waiting]


def _own(drill: str, number: int) -> str:
    """The drill id of one part."""
    return f"{drill}p{number}"


def _of(handles: Mapping[str, str], own: str) -> dict[str, str]:
    """The handles of one part."""
    number = own.rpartition("p")[2]
    return {
        key.removeprefix(f"{number}."): text for key, text in handles.items() if key.startswith(f"{number}.")
    }

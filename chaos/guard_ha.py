"""The guard's part for high availability: every service started, every node there for it, nothing being
fenced.
"""

from __future__ import annotations

from chaos import ha_state
from chaos.fault import Fault
from chaos.ha_state import HaState
from chaos.ports import ClusterPort

_GOOD = frozenset({"active", "idle"})


class HaWhole:
    """Quorum, a master, local managers that work, services as they are asked for, and none fewer than before.

    One object serves one drill after the other: the services that it saw when it admitted a fault are those
    that it asks for afterwards. A site without [ha] is passed over.
    """

    name = "HA is whole"
    before_only = False

    def __init__(self) -> None:
        self._admitted: Fault | None = None
        self._services: frozenset[str] = frozenset()

    def problems(self, cluster: ClusterPort, fault: Fault) -> list[str]:
        """What is wrong, each as a sentence; asked of a fault for the first time, it is before the break."""
        if cluster.site.ha is None:
            return []
        state = ha_state.read(cluster)
        found = lacking(state, [spec.name for spec in cluster.site.nodes])
        if self._admitted is fault:
            gone = sorted(self._services - set(state.services))
            return found + [f"the HA manager no longer knows {sid}" for sid in gone]
        self._admitted = None if found else fault
        self._services = frozenset(state.services)
        return found


def lacking(state: HaState, nodes: list[str]) -> list[str]:
    """What keeps HA from being whole, each as a sentence. Pure."""
    found = [] if state.quorate else ["the HA manager has no quorum"]
    if state.services and state.master_state not in _GOOD:
        found.append(f"no node is master of the HA manager ({state.master_state or 'none'})")
    if state.armed is not None and state.armed.startswith("disarm"):
        found.append(f"HA is {state.armed}")
    busy = {service.node for service in state.services.values() if service.requested == "started"}
    for node in nodes:
        lrm = state.lrms.get(node, "unknown")
        if lrm not in _GOOD or (node in busy and lrm != "active"):
            found.append(f"the local resource manager of {node} is {lrm}")
    for service in state.services.values():
        if service.requested in ("started", "stopped") and service.state != service.requested:
            found.append(
                f"{service.sid} is {service.state} on {service.node}, {service.requested} is asked for"
            )
    return found


def checks() -> tuple[HaWhole, ...]:
    """The checks to add to a guard."""
    return (HaWhole(),)

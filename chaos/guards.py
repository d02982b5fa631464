"""The guard with all its parts: what a drill needs that may touch anything."""

from __future__ import annotations

from chaos import guard_ceph, guard_ha, guard_quorum
from chaos.guard import Check, Guard


def whole() -> Guard:
    """Bonds, armed switches, BMCs, membership and a majority, Ceph, HA. One for each engine: it remembers."""
    extra: tuple[Check, ...] = (*guard_quorum.checks(), *guard_ceph.checks(), *guard_ha.checks())
    return Guard(extra=extra, restored_s=guard_ceph.RESTORED_S)

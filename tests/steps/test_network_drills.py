"""A silent link is measured once for each way of watching a bond."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.bond_state import BondState
from cluster.errors import NotApplicableError
from cluster.site import Site
from steps import network_drills

WATCHED = BondState("bond0", "active-backup", 100, 200, 0, 0, 0, None, "nic0", None, None, ())


@pytest.mark.parametrize(
    ("bond", "measured"),
    [(WATCHED, False), (replace(WATCHED, miimon=50), True), (replace(WATCHED, arp_interval=250), True)],
)
def test_what_was_shown_on_one_node_is_not_measured_on_another_that_is_watched_alike(
    site: Site, monkeypatch: pytest.MonkeyPatch, bond: BondState, measured: bool
) -> None:
    leg = SimpleNamespace(interface="nic0")
    monkeypatch.setattr(BondState, "leg", lambda self, which: leg)
    monkeypatch.setattr(network_drills, "bond_of", lambda cluster, name: bond)
    injected: list[Any] = []
    drill: Any = SimpleNamespace(cluster=None, inject=lambda fault, hold: injected.append(fault.target))
    shown = {network_drills._watched_by(WATCHED): "node1"}
    if measured:
        network_drills._silent("node 2", site, drill, shown)
        assert injected == ["node2 nic0"]
    else:
        with pytest.raises(NotApplicableError, match=r"PF-BOND-SILENT.*measured on node1"):
            network_drills._silent("node 2", site, drill, shown)
        assert injected == []

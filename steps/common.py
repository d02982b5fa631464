"""Sentences that several features share: which phase must stand before this one."""

from __future__ import annotations

from pytest_bdd import given, then

from provisioners.ceph import order as ceph_order
from provisioners.membership import ordered
from steps.phases import Phases
from steps.verdict import all_hold


@given("every server is installed as a node")
def _installed(phases: Phases) -> None:
    phases.require(1)


@given("every node's network is configured")
def _networked(phases: Phases) -> None:
    phases.require(2)


@given("the nodes are one cluster")
def _clustered(phases: Phases) -> None:
    ordered.corosync(phases.cluster.site)
    phases.require(3)


@given("storage is ready")
def _storing(phases: Phases) -> None:
    ceph_order.ordered(phases.cluster.site)
    phases.require(4)


@then("nothing that the base installation orders is left undone")
def _nothing_left_to_install(phases: Phases) -> None:
    all_hold(phases.undone(1))


@then("nothing that the network orders is left undone")
def _nothing_left_to_configure(phases: Phases) -> None:
    all_hold(phases.undone(2))


@then("nothing that the cluster orders is left undone")
def _nothing_left_to_join(phases: Phases) -> None:
    all_hold(phases.undone(3))


@then("nothing that the storage orders is left undone")
def _nothing_left_to_store(phases: Phases) -> None:
    all_hold(phases.undone(4))

"""Sentences that several features share: which phase must stand before this one."""

from __future__ import annotations

from pytest_bdd import given

from steps.phases import Phases


@given("every server is installed as a node")
def _installed(phases: Phases) -> None:
    phases.require(1)


@given("every node's network is configured")
def _networked(phases: Phases) -> None:
    phases.require(2)

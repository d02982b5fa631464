"""Steps that pass, fail, cannot judge, are blocked, do not apply, measure, leak, or die."""

from __future__ import annotations

import base64
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import ClassVar
from urllib.parse import quote

import pytest
from pytest_bdd import given, parsers, then, when

from reports.evidence import Run, judge
from reports.model import Timeline

CANARY = "cAnary/\"7 x&y<z>'$tail+="


class UnknownError(Exception):
    verdict: ClassVar[str] = "unknown"


class BlockedError(Exception):
    verdict: ClassVar[str] = "blocked"


class NotApplicableError(Exception):
    verdict: ClassVar[str] = "not applicable"


@given("every node is there")
def _there(evidence: Run, progress: Callable[[str], None]) -> None:
    progress("looking at 3 of 3 nodes")
    evidence.redactor.register([CANARY])
    evidence.transcript("node1", "hostname -f", "node1.rack.example\n", 0.21)


@given("the bond is made")
def _made(evidence: Run) -> None:
    for node in ("node1", "node2", "node3"):
        evidence.change(node, "make bond0 of both 200G ports in mode active-backup")
    evidence.change("node2", "set the MTU of bond0 to 9000")


@pytest.fixture
def drill(evidence: Run) -> Iterator[list[Timeline]]:
    """Draws the drill when it is over, as the fixture that heals it does."""
    drawn: list[Timeline] = []
    yield drawn
    for timeline in drawn:
        evidence.timeline(timeline)


@when(parsers.parse("the {which} link of {node} fails"), target_fixture="outage")
def _fails(evidence: Run, drill: list[Timeline], which: str, node: str) -> float:
    evidence.note(f"{node} runs on its remaining link")
    drill.append(
        Timeline(
            title=f"The {which} link of {node} fails",
            events=(
                (0.0, "carrier lost"),
                (0.11, "traffic is back"),
                (20.0, "healed"),
                (24.2, "redundant again"),
            ),
            bands=(("fault in", 0.0, 20.0, "fault"), ("redundancy returns", 20.0, 24.2, "heal")),
            outages=((f"{node} to node2", 0.004, 0.118), (f"node2 to {node}", 0.002, 0.109)),
            predicted_s=0.1,
            paths=(f"{node} to node2", f"node2 to {node}", f"{node} to node3", f"node3 to {node}"),
        )
    )
    return 0.114


@then(parsers.parse("no path is interrupted for more than {limit:g} second"))
def _limit(evidence: Run, outage: float, limit: float) -> None:
    m = evidence.measure(
        judge(
            "longest outage",
            outage,
            "s",
            "<",
            limit,
            None,
            0.01,
            "UDP probe every 10 ms, sender's stamps",
            0.1,
        )
    )
    assert m.met


@then("the network is fast")
def _fast(evidence: Run) -> None:
    m = evidence.measure(
        judge("throughput", 23.5e6, "bit/s", ">", 150e9, 20e6, 1e5, "iperf3, 8 streams, 10 s, slowest pair")
    )
    assert m.met


@then("it fails")
def _wrong() -> None:
    assert 1 + 1 == 3, "node1 has 1 of 2 links"


@then("nobody can tell")
def _unknown() -> None:
    raise UnknownError("the probe on node2 died after 3.1 s, so nothing was shown")


@then("it is blocked")
def _blocked() -> None:
    raise BlockedError("phase 2 fell: node3 has no bond")


@then("it cannot be had")
def _cannot() -> None:
    raise NotApplicableError("PF-MIG: an A16 has no MIG. Instead: use vGPU profiles")


@then("it is skipped")
def _skipped() -> None:
    pytest.skip("drills are switched off by --no-chaos")


@then("a secret is in everything that is said")
def _leak(evidence: Run) -> None:
    print(f"printed {CANARY}")  # noqa: T201
    print(f"to stderr {CANARY!r}", file=sys.stderr)  # noqa: T201
    logging.getLogger("fake").error("logged %s", CANARY)
    warnings.warn(f"warned {CANARY}", UserWarning, stacklevel=1)
    basic = base64.b64encode(f"root:{CANARY}".encode()).decode()
    evidence.transcript(
        "node1", f"curl -u root:{CANARY}", f"Authorization: Basic {basic}\n{quote(CANARY)}", 0.1
    )
    evidence.note(f"noted {CANARY}")
    evidence.change("node1", f"set it to {CANARY}")
    try:
        raise ValueError(f"inner {CANARY}")
    except ValueError as error:
        logging.getLogger("fake").exception("with a traceback")
        raise RuntimeError({"outer": CANARY, "header": basic}) from error


@then("the harness is killed")
def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@then("somebody presses Ctrl-C")
def _interrupted() -> None:
    raise KeyboardInterrupt

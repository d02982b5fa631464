"""resources.cfg and rules.cfg as Proxmox VE writes them."""

from __future__ import annotations

import pytest

from lab.standins.proxmox.daemon.config import sections
from lab.standins.proxmox.daemon.ha import resources, rules
from lab.standins.proxmox.daemon.ha.resources import Resource
from lab.standins.proxmox.daemon.ha.rules import NODE_AFFINITY, RESOURCE_AFFINITY, Rule

RESOURCES = """ct: 101
\tmax_relocate 1
\tmax_restart 1
\tstate started

ct: 102
\tcomment database
\tfailback 0
\tmax_restart 2
\tstate enabled

vm: 100
\tstate ignored

"""
RULES = """node-affinity: web-prefers-a
\tnodes pve-a:2,pve-b:1,pve-c
\tresources ct:101
\tstrict 1

resource-affinity: spread-tiers
\tdisable
\taffinity negative
\tresources ct:102,ct:101

"""


def test_resources() -> None:
    assert resources.parse(RESOURCES) == {
        "ct:101": Resource("ct", "101"),
        "ct:102": Resource("ct", "102", max_restart=2, failback=False, comment="database"),
        "vm:100": Resource("vm", "100", state="ignored"),
    }
    assert [one.managed for one in resources.parse(RESOURCES).values()] == [True, True, False]


def test_what_a_hand_spoilt_is_read_as_the_default() -> None:
    spoilt = "ct: 101\n\tmax_restart often\n\nservice: x\n\tstate started\n\n"
    assert resources.parse(spoilt) == {"ct:101": Resource("ct", "101")}


def test_rules() -> None:
    nodes = {"pve-a": 2, "pve-b": 1, "pve-c": 0}
    assert rules.parse(RULES) == [
        Rule("web-prefers-a", NODE_AFFINITY, ("ct:101",), nodes, strict=True),
        Rule("spread-tiers", RESOURCE_AFFINITY, ("ct:101", "ct:102"), affinity="negative", disabled=True),
    ]


@pytest.mark.parametrize("text", [RESOURCES, RULES])
def test_a_file_is_written_as_it_was_read(text: str) -> None:
    assert sections.render(sections.parse(text)) == text


def affinity(name: str, *sids: str, **more: object) -> Rule:
    return Rule(name, NODE_AFFINITY, sids, {"pve-a": 1}, **more)  # type: ignore[arg-type]


def company(name: str, kind: str, *sids: str) -> Rule:
    return Rule(name, RESOURCE_AFFINITY, sids, affinity=kind)


@pytest.mark.parametrize(
    ("known", "wrong"),
    [
        ([affinity("a", "ct:1"), affinity("b", "ct:2")], {}),
        ([affinity("a", "ct:1"), affinity("b", "ct:1", "ct:2")], {"a", "b"}),
        ([affinity("a", "ct:1"), affinity("b", "ct:1", disabled=True)], {}),
        ([company("a", "negative", "ct:1")], {"a"}),
        ([company("a", "negative", "ct:1", "ct:2", "ct:3")], {}),
        ([company("a", "negative", "ct:1", "ct:2", "ct:3", "ct:4")], {"a"}),
        ([company("a", "positive", "ct:1", "ct:2", "ct:3", "ct:4")], {}),
        ([company("a", "positive", "ct:1", "ct:2"), company("b", "negative", "ct:1", "ct:2")], {"a", "b"}),
        ([company("a", "positive", "ct:1", "ct:2"), company("b", "negative", "ct:2", "ct:3")], {}),
    ],
)
def test_contradictions_among_three_nodes(known: list[Rule], wrong: set[str]) -> None:
    assert rules.problems(known, 3).keys() == set(wrong)
    left = {one.id for one in known if not one.disabled} - set(wrong)
    assert {one.id for one in rules.feasible(known, 3)} == left

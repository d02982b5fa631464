"""What a run may do, by what the user said and what the site forbids."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest

from steps.modes import Mode, settle


def options(**given: Any) -> Namespace:
    """As pytest hands them over: None where the user said nothing."""
    silent = {
        "provision": None,
        "chaos": None,
        "wipe": [],
        "medium": "bmc",
        "usb_device": None,
        "rollback": None,
        "chaos_seed": None,
    }
    return Namespace(**{**silent, **given})


@pytest.mark.parametrize(
    ("given", "protected", "provision", "chaos"),
    [
        ({}, False, "missing", True),
        ({}, True, "never", False),
        ({"provision": "missing"}, True, "missing", False),
        ({"chaos": True}, True, "never", True),
        ({"provision": "never"}, False, "never", True),
        ({"chaos": False}, False, "missing", False),
        ({"provision": "plan"}, False, "plan", False),
        ({"provision": "plan", "chaos": True}, False, "plan", False),
        ({"rollback": 0, "chaos": True}, False, "missing", False),
        ({"rollback": 2}, False, "missing", False),
    ],
)
def test_defaults(given: dict[str, Any], protected: bool, provision: str, chaos: bool) -> None:
    option = options(**given)
    settle(option, protected=protected)
    assert (option.provision, option.chaos) == (provision, chaos)


def test_a_seed_is_drawn_and_a_given_one_is_kept() -> None:
    drawn = set()
    for _ in range(20):
        option = options()
        settle(option, protected=False)
        drawn.add(option.chaos_seed)
    assert len(drawn) > 1 and all(0 <= seed < 1_000_000 for seed in drawn)
    kept = options(chaos_seed=0)
    settle(kept, protected=False)
    assert kept.chaos_seed == 0, "zero is a seed too"


def test_a_mode_holds_the_settled_choices() -> None:
    option = options(wipe=["BOOT11", "BOOT12", "BOOT11"], medium="usb", usb_device="/dev/sdx", chaos_seed=7)
    settle(option, protected=False)
    assert Mode.of(option) == Mode("missing", True, frozenset({"BOOT11", "BOOT12"}), "usb", "/dev/sdx", 7)

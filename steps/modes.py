"""What a run may do: provision or only look, break or leave alone, and which drives it may erase."""

from __future__ import annotations

import secrets
from argparse import Namespace
from dataclasses import dataclass
from typing import Literal

Provision = Literal["missing", "never", "plan"]


@dataclass(frozen=True)
class Mode:
    """The choices of one run, settled. `usb_device` is a path; `wipe` holds drive serial numbers."""

    provision: Provision
    chaos: bool
    wipe: frozenset[str]
    medium: Literal["bmc", "usb"]
    usb_device: str | None
    seed: int
    minutes: float | None = None
    """Length of the night, where one is asked for."""
    replay: str | None = None
    """The run whose night is repeated."""

    @classmethod
    def of(cls, option: Namespace) -> Mode:
        return cls(
            option.provision,
            option.chaos,
            frozenset(option.wipe),
            option.medium,
            option.usb_device,
            option.chaos_seed,
            getattr(option, "chaos_minutes", None),
            getattr(option, "chaos_replay", None),
        )


def settle(option: Namespace, *, protected: bool) -> None:
    """Fills in what the user left open; a protected site is only looked at unless he says otherwise."""
    if option.provision is None:
        option.provision = "never" if protected else "missing"
    if option.chaos is None:
        option.chaos = not protected
    if option.provision in {"plan"} or option.rollback is not None:
        option.chaos = False
    if option.chaos_seed is None:
        option.chaos_seed = secrets.randbelow(1_000_000)

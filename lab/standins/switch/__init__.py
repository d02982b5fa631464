"""The switches' command lines: Comware 7 over SSH, answering from and acting on the Open vSwitch fabric.

Service module of the rack: `prepare`, `daemons`, `seed`. One daemon per switch, on its management address.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lab.paths import REPOSITORY, State
from lab.processes import Daemon, listening
from lab.rack import Rack
from lab.standins.aws import material
from lab.standins.aws.tree import SWITCH_USER

SSH_PORT = 22


def user() -> str:
    """The one account of every switch."""
    return SWITCH_USER


def password(state: State, name: str) -> str:
    """Password of a switch, made up on first use; the parameter store holds the same."""
    return material.kept(state.secrets / f"switch-{name}").decode()


def host_key(state: State, name: str) -> tuple[Path, str]:
    """(private key file, public key) of a switch's SSH server."""
    _, public = material.ssh_key(state, f"switch-{name}", "ed25519")
    return state.secrets / "ssh" / f"switch-{name}", " ".join(public.split()[:2])


def prepare(rack: Rack, state: State) -> None:
    """Passwords and host keys."""
    for switch in rack.switch:
        password(state, switch.name)
        host_key(state, switch.name)


def daemons(rack: Rack, state: State) -> list[Daemon]:
    """One SSH server per switch."""
    return [
        Daemon(
            f"switch-{switch.name}",
            [sys.executable, "-m", "lab.standins.switch.server", switch.name],
            ready=lambda address=switch.management: listening(address, SSH_PORT),  # type: ignore[misc]
            env={"RACKPROOF_STATE": str(state.root)},
            ready_deadline_s=60.0,
            cwd=REPOSITORY,
        )
        for switch in rack.switch
    ]


def seed(rack: Rack, state: State) -> None:
    """Nothing: the account's tree already holds the credentials and host keys."""

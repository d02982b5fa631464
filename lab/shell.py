"""`lab ssh`: into an installed server, with the automation key that the rack seeded."""

from __future__ import annotations

from collections.abc import Sequence

from lab.errors import LabError
from lab.paths import State
from lab.rack import Rack

CONNECT_TIMEOUT_S = 10


def command(rack: Rack, state: State, node: str, argv: Sequence[str]) -> list[str]:
    """The ssh command line. Raises LabError for an unknown server or when no key was made yet.

    Host keys are not compared: every installation makes new ones, and the network ends in this machine.
    """
    server = rack.find(node)
    key = state.secrets / "ssh" / "ansible"
    if not key.exists():
        raise LabError(f"{key}: no such key; `python -m lab up` makes it")
    options = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "IdentitiesOnly=yes",
        f"ConnectTimeout={CONNECT_TIMEOUT_S}",
    ]
    flags = [part for option in options for part in ("-o", option)]
    return ["ssh", "-i", str(key), *flags, f"root@{server.address}", *argv]

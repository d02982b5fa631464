"""`pct`: containers on this node's command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..http.errors import ApiError
from ..http.machine import Machine
from . import guests, local


def main(words: Sequence[str] | None = None) -> int:
    return local.guarded("pct", _run, words)


def _run(machine: Machine, words: list[str]) -> int:
    if words[:1] == ["exec"] and len(words) > 2:
        return _exec(guests.vmid(words[1]), words[3:] if words[2] == "--" else words[2:])
    return guests.run(machine, "lxc", words, create=("ostemplate",))


def _exec(vmid: int, command: list[str]) -> int:
    """Run a command inside a container; its output and exit code are ours."""
    if not command:
        raise local.UsageError("not enough arguments")
    attach = ["lxc-attach", "--clear-env", "-n", str(vmid), "--", *command]
    try:
        os.execvp(attach[0], attach)  # noqa: S606
    except FileNotFoundError as error:
        raise ApiError(500, f"{attach[0]}: command not found") from error


if __name__ == "__main__":
    sys.exit(main())

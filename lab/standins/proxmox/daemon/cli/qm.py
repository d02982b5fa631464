"""`qm`: virtual machines on this node's command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..http.machine import Machine
from . import guests, local


def main(words: Sequence[str] | None = None) -> int:
    return local.guarded("qm", _run, words)


def _run(machine: Machine, words: list[str]) -> int:
    return guests.run(machine, "qemu", words, create=())


if __name__ == "__main__":
    sys.exit(main())

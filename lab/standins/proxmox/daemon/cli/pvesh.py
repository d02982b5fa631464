"""`pvesh get|create|set|delete|ls PATH [OPTIONS]`: the API on this node's command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .. import endpoints
from ..http.machine import Machine
from ..http.registry import endpoints as known
from . import local

METHODS = {"get": "GET", "create": "POST", "set": "PUT", "delete": "DELETE"}


def main(words: Sequence[str] | None = None) -> int:
    return local.guarded("pvesh", _run, words)


def _run(machine: Machine, words: list[str]) -> int:
    placed, named = local.options(words, flags=("noproxy", "human-readable", "noborder", "noheader", "quiet"))
    if len(placed) != 2 or placed[0] not in (*METHODS, "ls"):
        raise local.UsageError("pvesh <get|create|set|delete|ls> <api_path> [OPTIONS]")
    form = str(named.pop("output-format", "text"))
    for flag in ("noproxy", "human-readable", "noborder", "noheader"):
        named.pop(flag, None)
    quiet = named.pop("quiet", None)
    path = "/" + placed[1].strip("/")
    if placed[0] == "ls":
        return _list(path)
    data = local.call(machine, METHODS[placed[0]], path, named)
    if not quiet:
        local.show(data, form)
    return 0


def _list(path: str) -> int:
    """What lies below a path: D with children, r/w for what may be done with it."""
    endpoints.load()
    below: dict[str, set[str]] = {}
    for one in known():
        parts = one.path.strip("/").split("/")
        asked = [part for part in path.strip("/").split("/") if part]
        if len(parts) > len(asked) and all(
            p == a or p.startswith("{") for p, a in zip(parts, asked, strict=False)
        ):
            marks = below.setdefault(parts[len(asked)], set())
            marks.add("D" if len(parts) > len(asked) + 1 else {"GET": "r", "PUT": "w"}.get(one.method, "c"))
    if not below:
        sys.stderr.write(f"no such resource '{path}'\n")
        return 2
    for name, marks in sorted(below.items()):
        shown = "".join(mark if mark in marks else "-" for mark in "Drwc")
        local.out(f"{shown}        {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What the commands share: the node they run on, options, errors, tables."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import endpoints
from ..http import peers
from ..http.dispatch import PROXY_TIMEOUT_S, handle
from ..http.errors import ApiError, TaskError
from ..http.machine import Machine
from ..http.registry import Reply, find


class UsageError(Exception):
    """A command line that the command does not take."""


def this_node() -> Machine:
    """The machine that the command runs on."""
    return Machine(socket.gethostname().partition(".")[0])


def out(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def options(words: Sequence[str], flags: Sequence[str] = ()) -> tuple[list[str], dict[str, Any]]:
    """Positional words, and options by name (`--size 3`, `-size 3`, `--size=3`); one that comes
    twice is a list.

    `flags` take no value unless the next word is 0 or 1.
    """
    placed: list[str] = []
    named: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            placed.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals:
            if name in flags:
                value = rest.pop(0) if rest[:1] in (["0"], ["1"]) else "1"
            elif rest:
                value = rest.pop(0)
            else:
                raise UsageError(f"option '{name}' requires an argument")
        if name in named:
            held = named[name]
            named[name] = [*held, value] if isinstance(held, list) else [held, value]
        else:
            named[name] = value
    return placed, named


def call(machine: Machine, method: str, path: str, params: Mapping[str, Any]) -> Any:
    """An endpoint in this process, or at the node that the path names; as root@pam."""
    endpoints.load()
    endpoint, in_path = find(method, path)
    node = in_path.get("node", machine.node)
    if endpoint.proxy_to_node and node not in ("localhost", machine.node):
        return peers.call(machine, node, method, path, params, timeout_s=PROXY_TIMEOUT_S)
    answer = handle(machine, endpoint, "root@pam", in_path, params, local=True)
    return answer.data if isinstance(answer, Reply) else answer


def show(data: Any, form: str) -> None:
    """Print an answer: json, json-pretty, or text (tables as PVE draws them, without colours)."""
    if form == "json":
        out(json.dumps(data, sort_keys=True, separators=(",", ":")))
    elif form == "json-pretty":
        out(json.dumps(data, indent=3, sort_keys=True))
    elif form != "text":
        raise UsageError(
            f"output-format: value '{form}' does not have a value in the enumeration "
            "'text, json, json-pretty'"
        )
    elif isinstance(data, list) and data and all(isinstance(line, dict) for line in data):
        columns = sorted({key for line in data for key in line})
        out(table(columns, [[_cell(line.get(name)) for name in columns] for line in data]))
    elif isinstance(data, dict) and data:
        out(table(["key", "value"], [[key, _cell(value)] for key, value in sorted(data.items())]))
    elif data is not None and data != []:
        out(str(data))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else str(value)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """PVE::CLIFormatter's borders."""
    widths = [max(len(row[n]) for row in (columns, *rows)) for n in range(len(columns))]

    def rule(left: str, middle: str, right: str, fill: str) -> str:
        return left + middle.join(fill * (width + 2) for width in widths) + right

    def line(row: Sequence[str]) -> str:
        return "│" + "│".join(f" {cell:<{width}} " for cell, width in zip(row, widths, strict=True)) + "│"

    body = f"\n{rule('├', '┼', '┤', '─')}\n".join(line(row) for row in rows)
    head = [rule("┌", "┬", "┐", "─"), line(columns), rule("╞", "╪", "╡", "═")]
    return "\n".join([*head, body, rule("└", "┴", "┘", "─")])


def guarded(name: str, work: Callable[[Machine, list[str]], int], words: Sequence[str] | None) -> int:
    """Run a command; PVE's exit code 255 and one sentence on standard error where it fails."""
    argv = list(sys.argv[1:] if words is None else words)
    try:
        if os.geteuid() != 0:
            raise ApiError(500, "please run as root")
        return work(this_node(), argv)
    except UsageError as error:
        sys.stderr.write(f"ERROR: {error}\n{name}: see lab/standins/README.md for what is served\n")
    except ApiError as error:
        status = f"{error.status} " if error.status != 500 else ""
        detail = "".join(f"{key}: {text}\n" for key, text in error.errors.items())
        sys.stderr.write(f"{status}{error.message}\n{detail}")
    except (TaskError, OSError) as error:
        sys.stderr.write(f"{error}\n")
    except KeyboardInterrupt:
        return 130
    return 255

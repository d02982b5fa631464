"""QEMU's monitor protocol: one command, one answer, on a machine's own socket."""

from __future__ import annotations

import json
import socket
from typing import Any

from ..http.errors import ApiError
from ..http.machine import Machine
from .running import RUN

TIMEOUT_S = 20.0


def ask(machine: Machine, vmid: int, command: str, **arguments: Any) -> Any:
    """What the command returns. ApiError in PVE's words where it is refused or nobody answers in 20 s."""
    words = f"VM {vmid} qmp command '{command}' failed"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(str(machine.file(f"{RUN}/{vmid}.qmp")))
            with connection.makefile("rw", encoding="utf-8") as lines:
                lines.readline()  # the greeting
                _exchange(lines, {"execute": "qmp_capabilities"})
                answer = _exchange(lines, {"execute": command, "arguments": arguments})
    except TimeoutError:
        raise ApiError(500, f"{words} - got timeout") from None
    except (OSError, ValueError) as error:
        raise ApiError(500, f"{words} - {error}") from error
    if "error" in answer:
        raise ApiError(500, f"{words} - {answer['error'].get('desc', 'unknown error')}")
    return answer["return"]


def _exchange(lines: Any, command: dict[str, Any]) -> dict[str, Any]:
    """Send one command; its answer, past what the machine tells of itself. ValueError where it hangs up."""
    lines.write(json.dumps(command) + "\n")
    lines.flush()
    while line := lines.readline():
        said: dict[str, Any] = json.loads(line)
        if "return" in said or "error" in said:
            return said
    raise ValueError("connection closed")

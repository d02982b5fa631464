"""Talking to the monitors in this process: one librados connection that is kept, not the `ceph` command.

Starting that command costs an emulated node 3 to 10 s, a command on a kept connection some milliseconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import threading
from typing import Any

from ..http.errors import ApiError
from ..http.machine import Machine
from . import conf

CONNECT_DEADLINE_S = 15
COMMAND_DEADLINE_S = 40


class CommandError(ApiError):
    """A monitor refused a command; `code` is the errno (positive)."""

    def __init__(self, prefix: str, code: int, text: str) -> None:
        super().__init__(500, f"error with '{prefix}': mon_cmd failed - {text.strip()}")
        self.code = code
        self.text = text.strip()


class _Kept:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.cluster: Any = None
        self.key = ""


_KEPT = _Kept()


def connect(machine: Machine) -> Any:
    """A connected rados.Rados as client.admin; the same one as long as configuration and key stay."""
    text = machine.read(conf.PATH)
    if not conf.parse(text).get("global", {}).get("mon_host"):
        raise ApiError(500, "rados_conf_read_file failed - no monitor is configured")
    key = hashlib.sha256((text + machine.read(conf.ADMIN)).encode()).hexdigest()
    with _KEPT.lock:
        if _KEPT.cluster is None or key != _KEPT.key:
            forget_locked()
            _KEPT.cluster, _KEPT.key = _open(machine), key
        return _KEPT.cluster


def _open(machine: Machine) -> Any:
    rados: Any = importlib.import_module("rados")  # late: a node without Ceph serves the rest of the API

    settings = {
        "client_mount_timeout": str(CONNECT_DEADLINE_S),
        "rados_mon_op_timeout": str(COMMAND_DEADLINE_S),
        "keyring": str(machine.file(conf.ADMIN)),
        "log_to_stderr": "false",
        "admin_socket": "",
        "log_file": "",
    }
    try:
        cluster = rados.Rados(conffile=str(machine.file(conf.PATH)), name="client.admin", conf=settings)
        cluster.connect(timeout=CONNECT_DEADLINE_S)
    except rados.Error as error:
        raise ApiError(500, f"rados_connect failed - {error}") from error
    return cluster


def forget_locked() -> None:
    if _KEPT.cluster is not None:
        with contextlib.suppress(Exception):
            _KEPT.cluster.shutdown()
    _KEPT.cluster, _KEPT.key = None, ""


def forget() -> None:
    """Close the kept connection, as after `purge`."""
    with _KEPT.lock:
        forget_locked()


def raw(machine: Machine, prefix: str, inbuf: bytes = b"", **arguments: Any) -> bytes:
    """The bytes that a command answers. CommandError when it is refused, ApiError when nobody answers."""
    command = json.dumps({"prefix": prefix, **arguments})
    code, out, text = connect(machine).mon_command(command, inbuf)
    if code:
        if -code in (110, 107, 108):  # timed out, not connected, shut down: the next call connects anew
            forget()
        raise CommandError(prefix, abs(code), text or f"errno {abs(code)}")
    return bytes(out)


def ask(machine: Machine, prefix: str, inbuf: bytes = b"", **arguments: Any) -> Any:
    """A command's answer, taken from JSON; None where it answers nothing."""
    out = raw(machine, prefix, inbuf, format="json", **arguments).strip()
    return json.loads(out) if out else None


def tell(machine: Machine, prefix: str, **arguments: Any) -> None:
    """A command whose answer does not matter."""
    raw(machine, prefix, **arguments)

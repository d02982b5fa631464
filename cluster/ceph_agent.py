"""Asks Ceph from a node: sent there as it stands and run by `ceph_session`, for as long as questions come.

Standard library and python3-rados only. Standard input bears one question a line, JSON: `commands` (by
name; `target`, `pick` and `input` beside what monitors take) and `limit` (seconds for one daemon). Standard
output bears one answer a line: `answers`, or `unreachable` with why no monitor could be asked. It ends with
its input, or when nobody has asked for IDLE_S.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import sys
import threading
from pathlib import Path
from typing import Any

CONF = "/etc/ceph/ceph.conf"
IDLE_S = 1800.0
CONNECT_S = 15
LIMIT_S = 15
TIMED_OUT, INTERRUPTED, AGAIN = 110, 4, 11


def connect() -> Any:
    """A client of Ceph. Raises OSError with a sentence where there is none."""
    try:
        import rados  # type: ignore[import-not-found]
    except ImportError as error:
        raise OSError(f"python3-rados is not installed ({error})") from None
    if not Path(CONF).exists():
        raise OSError(f"{CONF} is not there")
    options = {
        "client_mount_timeout": str(CONNECT_S),
        "rados_mon_op_timeout": str(LIMIT_S),
        "rados_osd_op_timeout": str(LIMIT_S),
        "log_to_stderr": "false",
        "log_to_file": "false",
    }
    try:
        client = rados.Rados(conffile=CONF, name="client.admin", conf=options)
        client.connect(timeout=CONNECT_S)
    except rados.Error as error:
        raise OSError(str(error)) from None
    return client


def hidden(value: Any) -> Any:
    """The same with every key replaced by its SHA-256: what a node prints stands in the transcript."""
    if isinstance(value, list):
        return [hidden(each) for each in value]
    if isinstance(value, dict):
        return {
            k: "sha256:" + hashlib.sha256(str(v).encode()).hexdigest() if k == "key" else hidden(v)
            for k, v in value.items()
        }
    return value


def bounded(call: Any, limit: float) -> tuple[int, bytes, str]:
    """What `call` answers within `limit` seconds: a manager or an OSD that has died never does."""
    box: list[tuple[int, bytes, str]] = []

    def inside() -> None:
        try:
            box.append(call())
        except Exception as error:  # noqa: BLE001 - of librados; its number is what the asker wants
            box.append((-abs(getattr(error, "errno", 0) or 5), b"", str(error)))

    thread = threading.Thread(target=inside, daemon=True)
    thread.start()
    thread.join(limit)
    return box[0] if box else (-TIMED_OUT, b"", "")


def send(client: Any, target: str | None, text: str, data: bytes, limit: float) -> tuple[int, bytes, str]:
    """One command to the monitors, the manager or an OSD."""
    if target == "mgr":
        return bounded(lambda: client.mgr_command(text, data), limit)
    if target:
        return bounded(lambda: client.osd_command(int(target.split(".")[1]), text, data), limit)
    return bounded(lambda: client.mon_command(text, data), limit)


def answers(client: Any, commands: dict[str, dict[str, Any]], limit: float) -> dict[str, Any]:
    """All answers, monitors' first; whoever has kept one question waiting is asked no other."""
    found: dict[str, Any] = {}
    silent: dict[str | None, tuple[int, str]] = {}
    if any(asked.get("target") == "mgr" for asked in commands.values()):
        stat = json.dumps({"prefix": "mgr stat", "format": "json"})
        code, out, _ = send(client, None, stat, b"", limit)
        if code or not json.loads(out or b"{}").get("available"):
            silent["mgr"] = (AGAIN, "no manager is active")
    for name, asked in sorted(commands.items(), key=lambda pair: bool(pair[1].get("target"))):
        command = {"format": "json", **asked}
        target, pick, given = (command.pop(key, None) for key in ("target", "pick", "input"))
        if target in silent:
            found[name] = {"code": silent[target][0], "message": silent[target][1]}
            continue
        code, out, why = send(client, target, json.dumps(command), (given or "").encode(), limit)
        if abs(code) in (TIMED_OUT, INTERRUPTED):
            why = f"{target or 'the monitors'} did not answer within {limit:g} s"
            silent[target] = (TIMED_OUT, why)
        value = shown(command["prefix"], out.decode("utf-8", "replace"), why)
        if pick and isinstance(value, dict):
            value = {key: value[key] for key in pick if key in value}
        found[name] = {"value": value} if code == 0 else {"code": abs(code), "message": why, "value": value}
    return found


def shown(prefix: str, out: str, why: str) -> Any:
    """Parsed JSON, or the text; without keys."""
    try:
        value = json.loads(out)
    except ValueError:
        value = out.strip() or why
    if not prefix.startswith("auth"):
        return value
    return hidden(value) if isinstance(value, dict | list) else "hidden"


def say(answer: dict[str, Any]) -> None:
    """One line, at once."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Answer until the input ends."""
    try:
        client = connect()
    except OSError as error:
        say({"unreachable": str(error)})
        return
    say({"ready": True})
    for _ in range(1_000_000):
        if not select.select([sys.stdin], [], [], IDLE_S)[0]:
            return
        line = sys.stdin.readline()
        if not line:
            return
        asked = json.loads(line)
        say({"answers": answers(client, asked["commands"], asked["limit"])})


if __name__ == "__main__":
    main()
    os._exit(0)  # a thread that waits for a dead daemon, and librados' own, would keep the process

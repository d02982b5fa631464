"""A switch with Comware's prompts and views over SSH on loopback, as far as the harness uses them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from typing import Any

import asyncssh

from tests.loops import end

USER, PASSWORD = "rackproof", "switch pass"
PORT = """\
{name}
Current state: {state}
Line protocol state: {line}
Bandwidth: 200000000 kbps
Maximum frame length: 9416
PVID: 4094
Port link-type: Trunk
 VLAN Passing:   1-6
 VLAN permitted: 1-6
"""
LLDP = """\
System Name          Local Interface Chassis ID      Port ID
sw1                  TGE1/0/1        5254-0001-0000  sw1
"""


class FakeSwitch(asyncssh.SSHServer):
    """Runs while the `with` block lasts. `stubborn` ports obey no command; `commands` is what was typed."""

    def __init__(self, *, scheduler: bool = True, stubborn: bool = False) -> None:
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.scheduler, self.stubborn = scheduler, stubborn
        self.down: set[str] = set()
        self.schedules: dict[str, str] = {}
        self.jobs: dict[str, list[str]] = {}
        self.commands: list[str] = []
        self.sessions = 0
        self._connections: list[Any] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def public_host_key(self) -> str:
        return self.host_key.export_public_key().decode()

    def connection_made(self, conn: Any) -> None:
        self._connections.append(conn)

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)

    def __enter__(self) -> FakeSwitch:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._server.close)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), self._loop).result(5)
        end(self._loop, self._thread)

    def cut(self) -> None:
        for connection in self._connections:
            self._loop.call_soon_threadsafe(connection.abort)

    async def _listen(self) -> Any:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[self.host_key],
            server_factory=lambda: self,
            process_factory=self._session,
            line_editor=False,
        )

    async def _session(self, process: Any) -> None:
        self.sessions += 1
        view: list[str] = []
        process.stdout.write("\r\n******\r\n<sw1>")
        buffer = ""
        with contextlib.suppress(asyncssh.Error):
            while data := await process.stdin.read(1024):
                buffer += data.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
                while "\n" in buffer:
                    line, _, buffer = buffer.partition("\n")
                    output = self._type(line.strip(), view)
                    process.stdout.write(f"{line}\r\n{output}".replace("\n", "\r\n"))
                    process.stdout.write(f"[sw1{''.join('-' + v for v in view[1:])}]" if view else "<sw1>")
        process.exit(0)

    def _type(self, line: str, view: list[str]) -> str:
        if line:
            self.commands.append(line)
        verb, _, rest = line.partition(" ")
        if line in ("", "screen-length disable") or self._moves(line, view):
            return ""
        if line.startswith("interface ") and view:
            if not re.fullmatch(r"TwoHundredGigE1/0/[12]", rest):
                return "  ^\n % Wrong parameter found at '^' position.\n"
            view[1:] = [rest]
            return ""
        if verb == "display":
            return self._display(rest)
        if len(view) == 2 and not self.stubborn:
            return self._inside(line, view[1])
        return "" if self.stubborn else self._system(line, view)

    def _moves(self, line: str, view: list[str]) -> bool:
        if line == "system-view":
            view[:] = ["system"]
        elif line == "return":
            view.clear()
        elif line == "quit":
            del view[-1:]
        else:
            return False
        return True

    def _inside(self, line: str, where: str) -> str:
        if line == "shutdown":
            self.down.add(where)
        elif line == "undo shutdown":
            self.down.discard(where)
        elif where.startswith("job-") and line.startswith("command "):
            self.jobs[where.removeprefix("job-")].append(line.split(maxsplit=2)[2])
        elif where.startswith("schedule-"):
            self.schedules[where.removeprefix("schedule-")] += line + "\n"
        else:
            return " % Unrecognized command found at '^' position.\n"
        return ""

    def _system(self, line: str, view: list[str]) -> str:
        kind, _, name = line.removeprefix("undo ").removeprefix("scheduler ").partition(" ")
        store: dict[str, Any] = self.jobs if kind == "job" else self.schedules
        if not self.scheduler or kind not in ("job", "schedule"):
            return " % Unrecognized command found at '^' position.\n"
        if line.startswith("undo "):
            return "" if store.pop(name, None) is not None else " % The job or schedule does not exist.\n"
        store.setdefault(name, [] if kind == "job" else "")
        view[1:] = [f"{kind}-{name}"]
        return ""

    def _display(self, what: str) -> str:
        names = ["TwoHundredGigE1/0/1", "TwoHundredGigE1/0/2"]
        if what.startswith("interface"):
            wanted = what.removeprefix("interface").strip()
            return "\n".join(self._port(n) for n in names if wanted in ("", n))
        if what == "scheduler schedule":
            return "".join(f"Schedule name        : {name}\n" for name in self.schedules)
        if what == "lldp neighbor-information list":
            return LLDP
        return ""

    def _port(self, name: str) -> str:
        down = name in self.down
        return PORT.format(
            name=name, state="Administratively DOWN" if down else "UP", line="DOWN" if down else "UP"
        )

"""The daemon of one switch: `python -m lab.standins.switch.server SWITCH`. SSH on its management address."""

from __future__ import annotations

import asyncio
import hmac
import logging
import sys
import time
from pathlib import Path

import asyncssh

from lab.paths import state_folder
from lab.rack import load
from lab.standins.switch import configure, display, host_key, lldp, password, user
from lab.standins.switch.ovs_fabric import OvsFabric
from lab.standins.switch.ports import Fabric
from lab.standins.switch.scheduler import Scheduler
from lab.standins.switch.session import Goodbye, Session
from lab.standins.switch.terminal import Terminal

log = logging.getLogger("rack.switch")
REGISTERED = (display, configure)
"""Modules whose import registers their commands."""
IDLE_TIMEOUT_S = 600.0


class _Server(asyncssh.SSHServer):
    """Password authentication for the one user."""

    def __init__(self, name: str, secret: str) -> None:
        self._name, self._secret = name, secret

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002 (asyncssh's signature)
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        # Both are compared, whatever the first says, so that the time tells nothing.
        right_name = hmac.compare_digest(username.encode(), self._name.encode())
        return hmac.compare_digest(password.encode(), self._secret.encode()) and right_name


class Switch:
    """Command lines and scheduler of one switch over its fabric."""

    def __init__(self, name: str, fabric: Fabric, *, minute_s: float = 60.0) -> None:
        self.name, self.fabric = name, fabric
        self.started = time.monotonic()
        self.scheduler = Scheduler(self._run_job, minute_s)

    def session(self) -> Session:
        """A fresh command line in user view."""
        return Session(self.name, self.fabric, self.scheduler, self.started)

    async def _run_job(self, commands: list[str]) -> bool:
        session = self.session()
        try:
            for text in commands:
                log.info("job: %s %s", text, session.execute(text))
        except Goodbye:
            log.info("job ended by quit")
        return True

    async def handle(self, process: asyncssh.SSHServerProcess[str]) -> None:
        """One SSH channel: a shell, or a single command (`ssh sw1 display version`)."""
        session = self.session()
        try:
            if process.command:
                process.stdout.write(session.execute(process.command) + "\n")
            else:
                await self._shell(session, process)
            process.exit(0)
        except (Goodbye, TimeoutError, asyncssh.BreakReceived):
            process.exit(0)
        except (BrokenPipeError, ConnectionError):
            process.close()

    async def _shell(self, session: Session, process: asyncssh.SSHServerProcess[str]) -> None:
        terminal = Terminal(session.execute, lambda: session.prompt)
        process.stdout.write(terminal.open())
        while not process.stdin.at_eof():
            try:
                keys = await asyncio.wait_for(process.stdin.read(4096), IDLE_TIMEOUT_S)
            except asyncssh.TerminalSizeChanged:
                continue
            for piece in terminal.feed(keys):
                process.stdout.write(piece)


async def listen(
    switch: Switch, host: str, port: int, key: Path, username: str, secret: str
) -> asyncssh.SSHAcceptor:
    """Accept SSH for `switch`. Raises OSError when the address is not there."""
    return await asyncssh.listen(
        host,
        port,
        server_factory=lambda: _Server(username, secret),
        server_host_keys=[str(key)],
        process_factory=switch.handle,
        encoding="utf-8",
        login_timeout=30,
        keepalive_interval=30,
        line_editor=False,
        server_version="Comware-7.1.070",
    )


def _announce(loop: asyncio.AbstractEventLoop, fabric: OvsFabric, agent: lldp.Agent) -> None:
    """Now and every INTERVAL_S, as long as the daemon lives."""
    loop.call_later(lldp.INTERVAL_S, _announce, loop, fabric, agent)  # first: a failure ends one round only
    agent.announce(fabric.tap_macs())


async def _main(name: str) -> None:
    rack, state = load(), state_folder()
    spec = next(switch for switch in rack.switch if switch.name == name)
    fabric = OvsFabric(rack, state, spec)
    agent = lldp.Agent(name, fabric.chassis_mac(), fabric.taps())
    fabric.listen_to(agent)
    loop = asyncio.get_running_loop()
    loop.add_reader(agent.socket, agent.hear)
    switch = Switch(name, fabric)
    acceptor = await listen(
        switch, spec.management, 22, host_key(state, name)[0], user(), password(state, name)
    )
    _announce(loop, fabric, agent)
    await acceptor.wait_closed()


def main(arguments: list[str]) -> int:
    """Serve until terminated."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    asyncio.run(_main(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

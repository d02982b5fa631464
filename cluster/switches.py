"""The switches: what their ports are, taking a port down and up, and a timer on the switch that brings it up
again.

The running configuration is changed, never saved: a switch that restarts in mid-fault comes back whole.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import secrets as tokens
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from netmiko import ConnectHandler
from netmiko.exceptions import (
    NetmikoAuthenticationException,
    NetmikoTimeoutException,
    ReadException,
)
from paramiko.ssh_exception import SSHException

from cluster import known_hosts
from cluster.comware import (
    Lag,
    Neighbour,
    PortState,
    error_in,
    full_name,
    is_port_name,
    parse_interfaces,
    parse_lags,
    parse_neighbours,
    renamed,
)
from cluster.errors import DeadlineError, RackproofError, UnreachableError
from cluster.secrets import parameter_name

if TYPE_CHECKING:
    from cluster.secrets import Secrets
    from cluster.site_models import Switch as SwitchTable

CONNECT_S = 10
READ_S = 30
VERIFY_S = 10
UNDO_RESOLUTION_S = 60  # Comware's scheduler counts in minutes and looks once a minute
_JOB = re.compile(r"rackproof-[0-9a-f]{8}")

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # its threads print tracebacks of failed logins

Observer = Callable[[str, str, str, float], None]


class SwitchError(RackproofError):
    """The switch answered, and refused or did otherwise than it was told."""


class SwitchConnection(Protocol):
    """What the harness asks of a switch of any make."""

    @property
    def name(self) -> str: ...

    def ports(self) -> dict[str, PortState]:
        """Every port by its full name."""

    def lags(self) -> dict[str, Lag]:
        """Link aggregations by name."""

    def neighbours(self) -> dict[str, Neighbour]:
        """LLDP neighbours by local port."""

    def shutdown(self, port: str) -> None:
        """Take the port down; returns when the switch says that it is."""

    def undo_shutdown(self, port: str) -> None:
        """Take the port up; returns when the switch says that it is enabled (the link may take longer)."""

    def arm_undo(self, port: str, seconds: float) -> str:
        """Have the switch itself take the port up after `seconds` or a little later; id for `disarm`."""

    def disarm(self, job: str) -> None:
        """Remove that timer; it may have run already."""

    def armed(self) -> list[str]:
        """Ids of the timers of ours that are still to run."""

    def close(self) -> None:
        """End the session. Never raises."""


class ComwareSwitch:
    """A switch with Comware 7 (HPE FlexFabric 5960) over SSH, with its host key checked and the session kept
    open.

    Safe for use by threads. Raises (every method) `UnreachableError`, `SwitchError`, `DeadlineError`.
    """

    def __init__(
        self, table: SwitchTable, secrets: Secrets, observer: Observer | None = None, *, port: int = 22
    ) -> None:
        self.name = table.name
        self.where = f"switch {table.name} ({table.address}:{port})"
        self._table = table
        self._port = port
        self._secrets = secrets
        self._observer = observer
        self._session: Any = None
        self._lock = threading.RLock()

    def ports(self) -> dict[str, PortState]:
        """Every port by its full name (`display interface`)."""
        found = parse_interfaces(self._show("display interface"))
        if not found:
            raise SwitchError(f"{self.where} shows no ports that could be read")
        return found

    def lags(self) -> dict[str, Lag]:
        """Link aggregations by name, members by full name."""
        text = self._show("display link-aggregation verbose")
        return renamed(parse_lags(text), self.ports()) if "Interface:" in text else {}

    def neighbours(self) -> dict[str, Neighbour]:
        """LLDP neighbours by full local port name; empty where LLDP does not run."""
        found = parse_neighbours(self._show("display lldp neighbor-information list"))
        names = list(self.ports()) if found else []
        return {full_name(port, names): neighbour for port, neighbour in found.items()}

    def shutdown(self, port: str) -> None:
        """Take the port down and read it back."""
        self._set(port, up=False)

    def undo_shutdown(self, port: str) -> None:
        """Enable the port and read it back."""
        self._set(port, up=True)

    def arm_undo(self, port: str, seconds: float) -> str:
        """A job of the switch's own scheduler enables the port after `seconds`, rounded up to
        `UNDO_RESOLUTION_S`.

        Read back before it is relied upon: `SwitchError` means that nothing may be broken.
        """
        self._checked(port)
        minutes = max(1, math.ceil(seconds / UNDO_RESOLUTION_S))
        if minutes > 24 * 60:
            raise SwitchError(
                f"{self.where}: a timer of {seconds:g} s was asked for: expected one day at most"
            )
        job = f"rackproof-{tokens.token_hex(4)}"
        self._configure(
            [
                f"scheduler job {job}",
                "command 1 system-view",
                f"command 2 interface {port}",
                "command 3 undo shutdown",
                "quit",
                f"scheduler schedule {job}",
                "user-role network-admin",
                f"job {job}",
                f"time once delay {minutes // 60:02d}:{minutes % 60:02d}",
                "quit",
            ]
        )
        if job not in self.armed():
            self.disarm(job)
            raise SwitchError(f"{self.where} did not take the timer that is to enable {port} again")
        return job

    def disarm(self, job: str) -> None:
        """Remove the scheduler's job and schedule; they may be gone already."""
        if _JOB.fullmatch(job) is None:
            raise SwitchError(f"{self.where}: {job!r} is no timer of ours")
        # What does not exist is refused with a message; whether it is gone is read back instead.
        self._configure([f"undo scheduler schedule {job}", f"undo scheduler job {job}"], strict=False)
        if job in self.armed():
            raise SwitchError(f"{self.where} did not remove the timer {job}")

    def armed(self) -> list[str]:
        """Ids of our timers that are on the switch, run or not: what a killed run has left is among them."""
        return sorted(set(_JOB.findall(self._show("display scheduler schedule"))))

    def close(self) -> None:
        """End the session. Never raises."""
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                with contextlib.suppress(Exception):
                    session.disconnect()

    def _set(self, port: str, *, up: bool) -> None:
        self._checked(port)
        self._configure([f"interface {port}", "undo shutdown" if up else "shutdown"])
        begin = time.monotonic()
        while True:
            state = parse_interfaces(self._show(f"display interface {port}")).get(port)
            if state is None:
                raise SwitchError(f"{self.where} shows no port {port}")
            if state.admin_up is up:
                return
            if time.monotonic() - begin > VERIFY_S:
                verb = "enabled" if up else "shut down"
                raise DeadlineError(
                    f"{self.where}: port {port} was not {verb} within {VERIFY_S} s of the command"
                )
            time.sleep(0.5)

    def _checked(self, port: str) -> None:
        if not is_port_name(port):
            raise SwitchError(
                f"{self.where}: {port!r} names no port: expected a full name such as TwoHundredGigE1/0/1"
            )

    def _show(self, command: str) -> str:
        """Output of a display command; tried once more on a fresh session, since it changes nothing."""
        with self._lock:
            for last in (False, True):
                try:
                    output = self._told(command, lambda session: _display(session, command))
                    break
                except UnreachableError:
                    if last or self._session is not None:
                        raise
        refused = error_in(output)
        if refused:
            raise SwitchError(f"{self.where} refused `{command}`: {refused}")
        return output

    def _configure(self, commands: Sequence[str], *, strict: bool = True) -> None:
        """Commands of the system view, sent once each; if `strict`, none after one that is refused."""
        with self._lock:
            output = self._told("; ".join(commands), lambda session: _apply(session, commands, strict))
        refused = error_in(output) if strict else None
        if refused:
            raise SwitchError(f"{self.where} refused `{'; '.join(commands)}`: {refused}")

    def _told(self, command: str, send: Callable[[Any], str]) -> str:
        start = time.monotonic()
        try:
            session = self._open()
            output = send(session)
        except (ReadException, SSHException, OSError, EOFError, ValueError) as error:
            self.close()
            told = " ".join(str(error).split())[:160]
            raise UnreachableError(
                f"{self.where} did not answer `{command}` within {READ_S} s: {type(error).__name__} {told}"
            ) from None
        if self._observer is not None:
            self._observer(self.name, command, output, time.monotonic() - start)
        return output

    def _open(self) -> Any:
        if self._session is not None and self._session.is_alive():
            return self._session
        self.close()
        user, password = self._secrets.resolve(self._table.user), self._secrets.resolve(self._table.password)
        key = known_hosts.parse(self._secrets.resolve(self._table.host_key), self._table.host_key)
        address = str(self._table.address)
        with _known_hosts_file(known_hosts.entry(address, key, self._port)) as path:
            try:
                self._session = ConnectHandler(
                    device_type="hp_comware", host=address, port=self._port, username=user, password=password,
                    ssh_strict=True, alt_host_keys=True, alt_key_file=str(path),
                    allow_agent=False, use_keys=False,
                    conn_timeout=CONNECT_S, auth_timeout=CONNECT_S, banner_timeout=CONNECT_S, keepalive=10,
                )  # fmt: skip
            except NetmikoAuthenticationException:
                raise UnreachableError(
                    f"{self.where} does not accept the user and password stored at {self._table.user}"
                    f" and {self._table.password}"
                ) from None
            except (NetmikoTimeoutException, ReadException, SSHException, OSError, EOFError) as error:
                raise UnreachableError(self._why_not(str(error))) from None
        return self._session

    def _why_not(self, error: str) -> str:
        if "does not match" in error or "not found in known_hosts" in error:
            name = parameter_name(self._table.host_key)
            return f"{self.where} is not spoken to: its SSH host key is not the one in parameter {name}"
        return f"{self.where} did not answer by SSH within {CONNECT_S} s: {' '.join(error.split())[:160]}"


def _display(session: Any, command: str) -> str:
    # Netmiko would stop at the switch's bare name, which its own outputs may contain.
    prompt = rf"<{re.escape(session.base_prompt)}>\s*$"
    return str(session.send_command(command, expect_string=prompt, read_timeout=READ_S, cmd_verify=False))


def _apply(session: Any, commands: Sequence[str], strict: bool) -> str:
    """Enter the system view, send the commands, return to the user view; all that the switch printed."""
    view = rf"\[[^\]\n]*{re.escape(session.base_prompt)}[^\]\n]*\]\s*$"
    printed = []
    for command in ("system-view", *commands):
        printed.append(
            session.send_command(command, expect_string=view, read_timeout=READ_S, cmd_verify=False)
        )
        if strict and error_in(printed[-1]):
            break
    printed.append(_display(session, "return"))
    return "\n".join(printed)


@contextlib.contextmanager
def _known_hosts_file(line: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rackproof-") as folder:
        path = Path(folder, "known_hosts")
        known_hosts.write(path, [line])
        yield path


DRIVERS = {"hp_comware": ComwareSwitch}

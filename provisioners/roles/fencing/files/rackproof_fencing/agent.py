"""Power orders by the field's own fence_redfish (Debian's fence-agents); options go in by standard input.

ForceOff and On by its actions `off` and `on`, each of which waits until the BMC tells the new power state;
`status` ends with 0 for on and 2 for off. It ignores the HTTP status of its POST: what that did shows in the
power.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading

from .config import Bmc
from .credentials import Credentials
from .model import ORDER_S

PROGRAM = "/usr/sbin/fence_redfish"
_POWER_S = 60  # so long the agent waits for the new power state
_OFF = 2


class AgentError(Exception):
    """The agent did not confirm what was ordered; one sentence."""


class Agent:
    """fence_redfish for one BMC; one run at a time."""

    def __init__(self, program: str = PROGRAM) -> None:
        self._program = program
        self._lock = threading.Lock()
        self._running: subprocess.Popen[str] | None = None
        self._stopped = False

    def order(self, action: str, bmc: Bmc, credentials: Credentials, uri: str) -> None:
        """`off` or `on`, confirmed by the agent and then by its `status`. Raises AgentError."""
        status, text = self._run(action, bmc, credentials, uri)
        if status != 0:
            raise AgentError(f"fence_redfish {action} ended with {status}: {text}")
        status, text = self._run("status", bmc, credentials, uri)
        if status != (_OFF if action == "off" else 0):
            raise AgentError(f"fence_redfish did {action}, but its status is {status}: {text}")

    def stop(self) -> None:
        """Kill what runs and start nothing more."""
        with self._lock:
            self._stopped = True
            if self._running is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._running.pid, signal.SIGKILL)

    def _run(self, action: str, bmc: Bmc, credentials: Credentials, uri: str) -> tuple[int, str]:
        """Status and last words. `timeout` ends the agent also when this service is dead."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        if bmc.ca_file is not None:
            environment["REQUESTS_CA_BUNDLE"] = bmc.ca_file
        with self._lock:
            if self._stopped:
                raise AgentError("the service stops")
            try:
                self._running = subprocess.Popen(
                    ["/usr/bin/timeout", "--signal=KILL", f"{ORDER_S:g}", self._program],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                raise AgentError(f"{self._program} cannot be run: {error.strerror}") from None
        with self._running as process:
            try:
                said, _ = process.communicate(_options(action, bmc, credentials, uri), ORDER_S + 5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise AgentError(f"fence_redfish {action} did not end within {ORDER_S:g} s") from None
        last = " ".join(said.replace(credentials.password, "***").split())[-300:]
        return process.returncode, last or "it says nothing"


def _options(action: str, bmc: Bmc, credentials: Credentials, uri: str) -> str:
    """One `name="value"` a line: the agent strips blanks and one pair of quotes."""
    options = {
        "action": action,
        "ip": bmc.address,
        "ipport": bmc.port,
        "username": credentials.user,
        "password": credentials.password,
        "systems_uri": uri,
        "ssl": 1,
        "power_timeout": _POWER_S,
    }
    return "".join(f'{name}="{value}"\n' for name, value in options.items())

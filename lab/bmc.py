"""The BMCs: one Redfish endpoint per server on its own out-of-band address, with a password of its own."""

from __future__ import annotations

import functools
import secrets
import sys
from pathlib import Path

import bcrypt

from lab import tls
from lab.paths import REPOSITORY, State
from lab.processes import Daemon, listening
from lab.rack import Rack, Server

PASSWORD_BYTES = 18
# The passwords are random, so the hash need not be slow; every request without a session pays for it.
BCRYPT_ROUNDS = 4


def password(state: State, server: Server) -> str:
    """Password of a server's BMC; made up on first use and kept (mode 0600)."""
    kept = _password_file(state, server)
    if not kept.exists():
        _keep_password(state, server, secrets.token_urlsafe(PASSWORD_BYTES))
    return kept.read_text(encoding="utf-8")


def set_password(rack: Rack, state: State, server: Server, new: str) -> None:
    """Change a BMC's password; the BMC takes it at its next request (no restart)."""
    _keep_password(state, server, new)
    _write_accounts(rack, state, server)


def _password_file(state: State, server: Server) -> Path:
    return state.secrets / f"bmc-{server.name}"


def _keep_password(state: State, server: Server, text: str) -> None:
    kept = _password_file(state, server)
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept.touch(mode=0o600)
    kept.write_text(text, encoding="utf-8")


def accounts_file(state: State, server: Server) -> Path:
    """The htpasswd file of a BMC."""
    return state.bmc / server.name / "accounts"


def _write_accounts(rack: Rack, state: State, server: Server) -> None:
    hashed = bcrypt.hashpw(password(state, server).encode(), bcrypt.gensalt(BCRYPT_ROUNDS)).decode()
    file = accounts_file(state, server)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(f"{rack.oob.bmc_user}:{hashed}\n", encoding="utf-8")


def prepare(rack: Rack, state: State) -> None:
    """Accounts and certificates."""
    for server in rack.server:
        (state.bmc / server.name / "tmp").mkdir(parents=True, exist_ok=True)
        if not accounts_file(state, server).exists():
            _write_accounts(rack, state, server)
        tls.issue(state, f"bmc-{server.name}", [server.bmc], [f"bmc-{server.name}.{rack.domain}"])


def daemons(rack: Rack, state: State) -> list[Daemon]:
    """One process per BMC."""
    return [
        Daemon(
            f"bmc-{server.name}",
            [sys.executable, "-m", "lab.standins.bmc", "--server", server.name, "--state", str(state.root)],
            functools.partial(listening, server.bmc, rack.oob.bmc_port),
            env={"TMPDIR": str(state.bmc / server.name / "tmp")},
            cwd=REPOSITORY,
            ready_deadline_s=60,
        )
        for server in rack.server
    ]

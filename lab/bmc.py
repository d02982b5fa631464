"""The BMCs: one Redfish endpoint per server on its own out-of-band address, with a password of its own."""

from __future__ import annotations

import functools
import json
import secrets
import sys

import bcrypt

from lab import tls
from lab.paths import REPOSITORY, State
from lab.processes import Daemon, listening
from lab.rack import Rack, Server

PASSWORD_BYTES = 18
# The passwords are random, so the hash need not be slow; every request without a session pays for it.
BCRYPT_ROUNDS = 4


def passwords(rack: Rack, state: State) -> dict[str, str]:
    """Password of each server's BMC; made up on first use and kept (mode 0600)."""
    kept = state.secrets / "bmc.json"
    known: dict[str, str] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    missing = [server.name for server in rack.server if server.name not in known]
    if missing:
        known |= {name: secrets.token_urlsafe(PASSWORD_BYTES) for name in missing}
        kept.touch(mode=0o600)
        kept.write_text(json.dumps(known), encoding="utf-8")
    return known


def set_password(rack: Rack, state: State, server: Server, password: str) -> None:
    """Change a BMC's password; the BMC takes it at its next request (no restart)."""
    known = passwords(rack, state) | {server.name: password}
    (state.secrets / "bmc.json").write_text(json.dumps(known), encoding="utf-8")
    _write_accounts(rack, state, server, password)


def accounts_file(state: State, server: Server) -> str:
    """The htpasswd file of a BMC."""
    return str(state.bmc / server.name / "accounts")


def _write_accounts(rack: Rack, state: State, server: Server, password: str) -> None:
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_ROUNDS)).decode()
    folder = state.bmc / server.name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "accounts"
    file.touch(mode=0o600)
    file.write_text(f"{rack.oob.bmc_user}:{hashed}\n", encoding="utf-8")


def prepare(rack: Rack, state: State) -> None:
    """Accounts and certificates."""
    for server in rack.server:
        if not (state.bmc / server.name / "accounts").exists():
            _write_accounts(rack, state, server, passwords(rack, state)[server.name])
        tls.certificate(state, f"bmc-{server.name}", [server.bmc], [f"bmc-{server.name}.{rack.domain}"])


def daemons(rack: Rack, state: State) -> list[Daemon]:
    """One process per BMC."""
    return [Daemon(f"bmc-{server.name}",
                   [sys.executable, "-m", "lab.standins.bmc", "--server", server.name,
                    "--state", str(state.root)],
                   functools.partial(listening, server.bmc, rack.oob.bmc_port),
                   env={"TMPDIR": str(state.tmp)}, cwd=REPOSITORY, ready_deadline_s=60)
            for server in rack.server]

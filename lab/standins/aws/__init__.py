"""The AWS region of the rack: moto behind a gate that enforces IAM, keys and limits as AWS does.

Service module of the rack: `prepare`, `daemons`, `seed`. The endpoint is https://<oob.aws>:5566.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from lab import tls
from lab.bmc import password as bmc_password
from lab.errors import LabError
from lab.paths import REPOSITORY, State
from lab.processes import Daemon, listening
from lab.rack import Rack
from lab.standins.aws import material, tree

REGION = "us-west-2"
PORT = 5566
PROFILE = "rackproof-operator"
NAME = "aws"
ENVIRONMENT = {"S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true"}
"""For moto: buckets stand in the path, whatever the host is called."""


def folder(state: State) -> Path:
    """Where the account's files lie: `credentials` and the daemon's configuration."""
    return state.root / "aws"


def prepare(rack: Rack, state: State) -> None:
    """Write the certificate, the operator's credentials file and the daemon's configuration."""
    place = folder(state)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    cert, key = tls.issue(state, "rack-aws", [rack.oob.aws])
    operator = _access_key(state, "aws-operator")
    material.write_private(place / "credentials", _credentials(operator))
    config = {
        "host": rack.oob.aws,
        "port": PORT,
        "cert": str(cert),
        "key": str(key),
        "region": REGION,
        "domain": rack.domain,
        "hosts": [server.name for server in rack.server],
        "operator": operator,
        "root": _access_key(state, "aws-root"),
        "backup_key": material.kept(state.secrets / "backup-encryption-key").decode(),
        "snapshot": str(state.secrets / "parameters.json"),
        "parameters": [dataclasses.asdict(parameter) for parameter in _parameters(rack, state)],
    }
    material.write_private(place / "config.json", json.dumps(config).encode())


def daemons(rack: Rack, state: State) -> list[Daemon]:
    """The one endpoint for all services; it listens only once the account is seeded."""
    argv = [sys.executable, "-m", "lab.standins.aws.server", str(folder(state) / "config.json")]
    return [
        Daemon(
            NAME,
            argv,
            env=ENVIRONMENT,
            ready=lambda: listening(rack.oob.aws, PORT),
            ready_deadline_s=60.0,
            cwd=REPOSITORY,
        )
    ]


def seed(rack: Rack, state: State) -> None:
    """Nothing to do: the daemon seeds itself before it listens; nobody ever meets half an account."""
    del rack, state


def _parameters(rack: Rack, state: State) -> list[tree.Parameter]:
    from lab.standins.switch import host_key

    secrets: dict[str, str] = {}
    public: dict[str, str] = {}
    for who, algorithm in (("ansible", "ed25519"), ("admin", "rsa4096")):
        private, open_half = material.ssh_key(state, who, algorithm)
        secrets[f"ssh_keys/{who}/private_key"] = private
        public[f"ssh_keys/{who}/public_key"] = open_half
    for switch in rack.switch:
        public[f"switches/{switch.name}/host_key"] = host_key(state, switch.name)[1]
        secrets[f"switches/{switch.name}/password"] = material.kept(
            state.secrets / f"switch-{switch.name}"
        ).decode()
    for server in rack.server:
        secrets[f"nodes/{server.name}/ipmi_password"] = bmc_password(state, server)
    for name in tree.secrets_needed(rack):
        if name not in secrets:
            secrets[name] = material.cluster_secret(state, name)
    return tree.parameters(rack, secrets, public)


def _access_key(state: State, name: str) -> dict[str, str]:
    """An access key pair of AWS's shape, made up once."""
    made = json.dumps(
        {
            "access_key": "AKIA" + material.random_password().upper()[:16],
            "secret": (material.random_password() * 2)[:40],
        }
    )
    pair: dict[str, str] = json.loads(material.kept(state.secrets / name, made.encode()))
    return pair


def _credentials(operator: dict[str, str]) -> bytes:
    return (
        f"[{PROFILE}]\naws_access_key_id = {operator['access_key']}\n"
        f"aws_secret_access_key = {operator['secret']}\nregion = {REGION}\n"
    ).encode()


def operator_credentials(state: State) -> Path:
    """The operator's credentials file. Raises LabError before the first `lab up`."""
    path = folder(state) / "credentials"
    if not path.exists():
        raise LabError(f"{path}: no such file, the rack was never up; run `python -m lab up` first")
    return path


def root_client(rack: Rack, state: State, service: str) -> Any:
    """A boto3 client with the rights of the account root: for the rack's own tools, never for the harness.

    Raises LabError before the first `lab up`.
    """
    import boto3

    operator_credentials(state)
    pair = _access_key(state, "aws-root")
    session: Any = boto3.session.Session(pair["access_key"], pair["secret"], region_name=REGION)
    endpoint = f"https://{rack.oob.aws}:{PORT}"
    return session.client(service, endpoint_url=endpoint, verify=str(tls.ca(state)))

"""A seeded account behind the real gate, on a real server at 127.0.0.1, met by real boto3."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.core.base_backend import BackendDict

from lab import rack as racks
from lab.standins.aws import seeding, server, tree
from lab.standins.aws.accounts import RootKey

REGION = "us-west-2"
OPERATOR = ("AKIAOPERATOROPERATOR", "o" * 40)
ROOT = RootKey("AKIAROOTROOTROOTROOT", "r" * 40)
ROLE_ARN = "arn:aws:iam::123456789012:role/pve1-node-role"

ONE_ATTEMPT = Config(retries={"total_max_attempts": 1})


@dataclass
class Account:
    """Where the endpoint is and what was seeded. Clients are kept: making one takes a tenth of a second."""

    url: str
    order: seeding.Order
    snapshot: Path
    _kept: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def client(
        self, service: str, key: str = OPERATOR[0], secret: str = OPERATOR[1], token: str | None = None
    ) -> Any:
        """A client of anybody."""
        who = (service, key, secret, token or "")
        if who not in self._kept:
            session: Any = boto3.session.Session(key, secret, token, REGION)
            self._kept[who] = session.client(service, endpoint_url=self.url, config=ONE_ATTEMPT)
        return self._kept[who]

    def root(self, service: str) -> Any:
        """A client of the account root."""
        return self.client(service, ROOT.access_key, ROOT.secret)

    def node(self, service: str) -> Any:
        """A client of the nodes' role."""
        if ("node",) not in self._kept:
            sts = self.client("sts")
            self._kept[("node",)] = sts.assume_role(RoleArn=ROLE_ARN, RoleSessionName="node1")["Credentials"]
        taken = self._kept[("node",)]
        return self.client(service, taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])


def order() -> seeding.Order:
    """What is seeded: the rack's tree with values that tell their names."""
    rack = racks.load()
    secrets = {name: f"secret of {name}" for name in tree.secrets_needed(rack)}
    public = {f"ssh_keys/{who}/public_key": "ssh-ed25519 AAAA" for who in ("ansible", "admin")}
    public |= {f"switches/{switch.name}/host_key": "ssh-ed25519 BBBB" for switch in rack.switch}
    return seeding.Order(
        REGION,
        rack.domain,
        ("node1", "node2", "node3"),
        OPERATOR,
        "backup-key",
        tuple(tree.parameters(rack, secrets, public)),
    )


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    BackendDict.reset()
    snapshot = tmp_path_factory.mktemp("aws") / "parameters.json"
    wanted = order()
    gate = server.application(wanted, ROOT, snapshot)
    service = server.serve("127.0.0.1", 0, gate, "", "")
    thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield Account(f"http://127.0.0.1:{service.server_port}", wanted, snapshot)
    service.shutdown()
    service.server_close()
    thread.join(timeout=5)
    BackendDict.reset()

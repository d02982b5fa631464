"""Credentials for nodes without an identity of their own, and the reader that uses them."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cluster.aws import AwsError
from cluster.errors import NotApplicableError
from cluster.site import Site
from provisioners.base_install import credentials as module
from provisioners.base_install.credentials import Credentials, assume
from provisioners.base_install.files import READER_PATH, managed
from provisioners.change import Change
from tests.provisioners.nodes import MATERIAL

GIVEN = {
    "AccessKeyId": "ASIAEXAMPLE",
    "SecretAccessKey": "canary-secret",
    "SessionToken": "canary-token",
    "Expiration": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
}


class FakeSts:
    def __init__(self, limit_s: int, code: str = "ValidationError") -> None:
        self.limit_s = limit_s
        self.code = code
        self.asked: list[dict[str, Any]] = []

    def assume_role(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        if request["DurationSeconds"] > self.limit_s:
            raise ClientError({"Error": {"Code": self.code}}, "AssumeRole")
        return {"Credentials": GIVEN}


def cluster_with(site: Site, sts: FakeSts) -> Any:
    identity = SimpleNamespace(account="123456789012", arn="arn:aws:iam::123456789012:user/operator")
    aws = SimpleNamespace(client=lambda name: sts, identity=lambda: identity, table=site.aws)
    return SimpleNamespace(site=site, aws=aws)


def test_a_node_gets_the_longest_session_that_the_role_allows(site: Site) -> None:
    long, short = FakeSts(12 * 3600), FakeSts(3600)
    assert assume(cluster_with(site, long), "node1") == GIVEN
    assert assume(cluster_with(site, short), "node1") == GIVEN
    assert [r["DurationSeconds"] for r in long.asked + short.asked] == [43200, 43200, 3600]
    assert long.asked[0]["RoleArn"] == "arn:aws:iam::123456789012:role/pve1-node-role"
    assert long.asked[0]["RoleSessionName"] == "node1"


@pytest.mark.parametrize(("limit", "code"), [(0, "ValidationError"), (0, "AccessDenied")])
def test_a_refusal_names_the_role_and_the_node(site: Site, limit: int, code: str) -> None:
    with pytest.raises(AwsError, match=f"taking the role .*pve1-node-role for node1: {code}"):
        assume(cluster_with(site, FakeSts(limit, code)), "node1")


def test_secrets_go_to_their_own_node_only(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[tuple[Any, ...]] = []
    monkeypatch.setattr(module, "play", lambda *given, **named: played.append((given, named)))
    changes = [Change("node1", "x", "credentials"), Change("node2", "x", "credentials")]
    Credentials().apply(cluster_with(site, FakeSts(43200)), changes, lambda text: None)
    ((given, named),) = played
    assert given[3] == {} and set(named["host_variables"]) == {"node1", "node2"}
    text = named["host_variables"]["node1"]["node_credentials"]
    assert text.startswith("# until = 2026-01-02T03:04:05Z\n[default]\n") and "canary-token" in text


def test_an_identity_of_the_nodes_own_is_not_ours_to_give(site: Site) -> None:
    aws = site.aws.model_copy(update={"credential_source": "rolesanywhere"})
    order = site.model_copy(update={"aws": aws})
    with pytest.raises(NotApplicableError, match=r"PF-NODE-IDENTITY.*node1 must bring an identity"):
        cluster = cluster_with(order, FakeSts(43200))
        Credentials().apply(cluster, [Change("node1", "x", "credentials")], lambda text: None)


# -- the reader on the node, run for real against an endpoint of the test


class Store(BaseHTTPRequestHandler):
    """Answers as Parameter Store does, to whoever signed with the key that we gave out."""

    seen: list[dict[str, str]] = []  # noqa: RUF012 - one list for the handler class

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.seen.append({**dict(self.headers.items()), "body": body})
        granted = "Credential=ASIAEXAMPLE/" in self.headers.get("Authorization", "")
        if granted:
            text = '{"Parameter": {"Name": "/pve1/cluster/name", "Value": "pve1", "Version": 1}}'
        else:
            text = '{"__type": "AccessDeniedException"}'
        self.send_response(200 if granted else 400)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        return None


@pytest.fixture
def endpoint() -> Iterator[str]:
    Store.seen.clear()
    server = HTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def node(site: Site, tmp_path: Path, endpoint: str) -> Path:
    """A folder that stands for the node's root, with its AWS profile."""
    (reader,) = [f for f in managed(site, site.nodes[0], MATERIAL) if f.path == READER_PATH]
    (tmp_path / "aws").mkdir()
    (tmp_path / "node-parameter").write_text(reader.content.replace("/root/.aws/", f"{tmp_path}/aws/"))
    (tmp_path / "aws/config").write_text(f"[default]\nregion = us-west-2\nendpoint_url = {endpoint}\n")
    return tmp_path


def read(node: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(node / "node-parameter"), *arguments, "/pve1/cluster/name"],
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
    )  # fmt: skip


def test_the_reader_signs_with_the_nodes_own_credentials(node: Path) -> None:
    (node / "aws/credentials").write_text(module._file(GIVEN))
    done = read(node, "--describe")
    assert done.stdout.splitlines() == ["credentials short-lived", "until 2026-01-02T03:04:05Z", "value pve1"]
    assert read(node).stdout == "pve1\n"
    (request, _) = Store.seen
    headers = {key.lower(): value for key, value in request.items()}
    assert headers["x-amz-target"] == "AmazonSSM.GetParameter"
    assert headers["x-amz-security-token"] == "canary-token"
    assert "us-west-2/ssm/aws4_request" in headers["authorization"]
    assert headers["body"] == '{"Name": "/pve1/cluster/name", "WithDecryption": true}'


def test_the_reader_takes_credentials_from_a_process(node: Path) -> None:
    helper = node / "helper"
    helper.write_text(
        "#!/bin/sh\necho '"
        '{"Version": 1, "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "s", "SessionToken": "t"}\''
    )
    helper.chmod(0o755)
    with (node / "aws/config").open("a") as config:
        config.write(f"credential_process = {helper}\n")
    assert "value pve1" in read(node, "--describe").stdout


def test_the_reader_says_what_is_wrong(node: Path) -> None:
    nothing = read(node, "--describe")
    assert (nothing.returncode, nothing.stdout) == (1, "problem there are no credentials on this node\n")
    (node / "aws/credentials").write_text(module._file({**GIVEN, "AccessKeyId": "AKIAOTHER"}))
    denied = read(node, "--describe")
    assert denied.returncode == 1 and "problem the parameter store refused" in denied.stdout
    assert "canary" not in denied.stdout + denied.stderr
    (node / "aws/credentials").write_text(
        "[default]\naws_access_key_id = ASIAEXAMPLE\naws_secret_access_key = s\n"
    )
    assert read(node, "--describe").stdout.startswith("credentials long-lived\n")

"""AWS calls against moto's server on loopback, and what is said where they fail."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from cluster import aws as module
from cluster.aws import AccessDeniedError, Aws, AwsError, NotFoundError, Parameter
from cluster.errors import UnreachableError
from cluster.secrets import SecretError, Secrets, parameter_name


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def table(endpoint: str, tmp_path: Path) -> Any:
    return make_table(endpoint, tmp_path)


def make_table(endpoint: str, folder: Path) -> Any:
    assert ip_address(urlsplit(endpoint).hostname or "").is_loopback
    credentials = folder / "credentials"
    credentials.write_text("[operator]\naws_access_key_id = testing\naws_secret_access_key = testing\n")
    return SimpleNamespace(
        region="us-west-2",
        root="/pve1",
        endpoint=endpoint,
        ca_file=None,
        credentials_file=credentials,
        profile="operator",
        credential_source="profile",
        node_role="pve1-node-role",
        bucket="pve1-backups",
        kms_key="alias/pve1",
    )


@pytest.fixture(scope="module")
def aws(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    made = Aws(make_table(endpoint, tmp_path_factory.mktemp("aws")))
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def seeded(endpoint: str) -> None:
    import boto3

    def client(name: str) -> Any:
        return boto3.client(
            name,
            region_name="us-west-2",
            endpoint_url=endpoint,
            aws_access_key_id="x",
            aws_secret_access_key="y",
        )

    ssm, kms = client("ssm"), client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/pve1", TargetKeyId=key)
    for number in range(23):
        ssm.put_parameter(Name=f"/pve1/many/p{number}", Value=str(number), Type="String")
    for node in ("node1", "node2"):
        ssm.put_parameter(
            Name=f"/pve1/nodes/{node}/ipmi_password",
            Value=f"pw-{node}",
            Type="SecureString",
            KeyId="alias/pve1",
        )
    ssm.put_parameter(Name="/other/secret", Value="not ours", Type="SecureString")
    client("s3").create_bucket(
        Bucket="pve1-backups", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    client("iam").create_role(RoleName="pve1-node-role", AssumeRolePolicyDocument="{}")


def site(table: Any) -> Any:
    tree = {
        "nodes": [{"bmc": {"password": "ssm:/pve1/nodes/{node}/ipmi_password"}}],
        "ssh": {"private_key": "ssm:/pve1/ssh/key"},
    }
    return SimpleNamespace(name="lab", aws=table, model_dump=lambda: tree)


def test_the_whole_tree_is_read_page_by_page_and_decrypted(aws: Aws) -> None:
    found = aws.parameters()
    assert len(found) == 25
    assert "/other/secret" not in found
    secret = found["/pve1/nodes/node1/ipmi_password"]
    assert (secret.type, secret.value, secret.version, secret.secret) == ("SecureString", "pw-node1", 1, True)
    assert secret.key_id == "alias/pve1"
    assert found["/pve1/many/p0"].key_id is None


def test_one_unreadable_secret_does_not_hide_the_others(
    aws: Aws, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS refuses the whole page for one key; moto does not, so the refusal is put in here."""
    whole = Aws._by_path

    def by_path(self: Aws, ssm: Any, keys: Any, *, decrypted: bool) -> dict[str, Parameter]:
        if decrypted:
            raise AccessDeniedError("kms says no", "AccessDeniedException")
        return whole(self, ssm, keys, decrypted=False)

    def one(self: Aws, name: str) -> Parameter:
        if name in refused:
            raise AccessDeniedError("reading it was refused", "AccessDeniedException")
        return Parameter(name, "SecureString", "value", 1)

    monkeypatch.setattr(Aws, "_by_path", by_path)
    monkeypatch.setattr(Aws, "parameter", one)
    refused = {"/pve1/nodes/node1/ipmi_password"}
    secrets = Secrets(aws, site(table))
    tree = secrets.tree()
    assert len(tree) == 25
    lost = tree["/pve1/nodes/node1/ipmi_password"]
    assert (lost.value, lost.unreadable) == ("", "reading it was refused")
    assert {p.value for p in tree.values() if p.secret and not p.unreadable} == {"value"}
    with pytest.raises(SecretError, match=r"ipmi_password, to which .* refers, cannot be read: reading it"):
        secrets.resolve("ssm:/pve1/nodes/{node}/ipmi_password", node="node1")
    refused |= {name for name, parameter in tree.items() if parameter.secret}
    with pytest.raises(AccessDeniedError):
        aws.parameters()


def test_a_parameter_shows_no_value_when_it_is_printed() -> None:
    assert "hush" not in repr(Parameter("/pve1/x", "SecureString", "hush", 1))


def test_parameters_are_written_read_and_deleted_one_by_one(aws: Aws) -> None:
    assert aws.put_parameter("/pve1/new", "a", secret=True) == 1
    assert aws.put_parameter("/pve1/new", "b", secret=True) == 2
    assert aws.parameter("/pve1/new").value == "b"
    with pytest.raises(AwsError, match=r"writing parameter /pve1/new .*ParameterAlreadyExists"):
        aws.put_parameter("/pve1/new", "c", overwrite=False)
    aws.delete_parameter("/pve1/new")
    with pytest.raises(NotFoundError, match=r"us-west-2\): reading parameter /pve1/new as profile operator"):
        aws.parameter("/pve1/new")
    with pytest.raises(NotFoundError):
        aws.delete_parameter("/pve1/new")


def test_bucket_and_key(aws: Aws) -> None:
    aws.put_object("a/b", b"data")
    assert aws.get_object("a/b") == b"data"
    aws.delete_object("a/b")
    with pytest.raises(NotFoundError, match="reading s3://pve1-backups/a/b"):
        aws.get_object("a/b")
    blob = aws.encrypt(b"plain")
    assert blob != b"plain"
    assert aws.decrypt(blob) == b"plain"


def test_the_nodes_role_is_somebody_else(aws: Aws) -> None:
    role = aws.as_node_role()
    assert "assumed-role/pve1-node-role" in role.identity().arn
    assert role.identity().account == aws.identity().account
    assert role.who == "role pve1-node-role"
    assert role.parameter("/pve1/many/p1").value == "1"


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("AccessDeniedException", AccessDeniedError, "refused: AccessDeniedException"),
        ("UnrecognizedClientException", AwsError, r"aws.credential_source\) are not valid"),
        ("ThrottlingException", AwsError, "ThrottlingException: slow down"),
    ],
)
def test_refusals_are_told_apart(aws: Aws, code: str, kind: type[AwsError], words: str) -> None:
    with pytest.raises(kind, match=words) as told, aws.told("asking"):
        raise ClientError({"Error": {"Code": code, "Message": "slow down"}}, "GetParameter")
    assert told.value.code == code
    assert type(told.value) is kind


def test_an_endpoint_that_is_down_is_unreachable(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        table.endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    with pytest.raises(
        UnreachableError, match=r"127.0.0.1:\d+ .*no answer while asking who we are \(deadline"
    ):
        Aws(table).identity()


def test_an_endpoint_that_is_silent_is_unreachable(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        table.endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        monkeypatch.setattr(module, "ATTEMPTS", 1)
        monkeypatch.setattr(module, "READ_S", 0.3)
        with pytest.raises(UnreachableError, match="no answer while asking who we are"):
            Aws(table).identity()


def test_wrong_settings_are_one_sentence(table: Any, tmp_path: Path) -> None:
    table.profile = "nobody"
    with pytest.raises(
        AwsError, match=r"as profile nobody failed: The config profile \(nobody\) could not be found"
    ):
        Aws(table).identity()
    table.credentials_file = tmp_path / "missing"
    with pytest.raises(AwsError, match=r"aws.credentials_file = .*missing: there is no such file"):
        Aws(table).identity()
    table.credentials_file, table.ca_file = None, tmp_path / "missing.pem"
    with pytest.raises(AwsError, match=r"aws.ca_file = .*missing.pem: there is no such file"):
        Aws(table).identity()


def test_the_environments_keys_do_not_replace_the_profile(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "environment")
    assert Aws(table).client("sts")._request_signer._credentials.access_key == "testing"


def test_the_transcript_tells_what_was_asked_and_no_value(table: Any) -> None:
    told: list[Any] = []
    aws = Aws(table, lambda *what: told.append(what))
    aws.as_node_role().parameter("/pve1/nodes/node1/ipmi_password")
    with pytest.raises(NotFoundError):
        aws.parameter("/pve1/none")
    asked = "reading parameter /pve1/nodes/node1/ipmi_password as role pve1-node-role"
    assert ("aws", asked, "done") in [each[:3] for each in told]
    assert told[-1][:3] == ("aws", "reading parameter /pve1/none as profile operator", "ParameterNotFound")
    assert "pw-node1" not in repr(told)


class Counted:
    """Counts how often the tree is read."""

    def __init__(self, aws: Aws) -> None:
        self.reads = 0
        self._aws = aws

    def parameters(self) -> dict[str, Parameter]:
        self.reads += 1
        return self._aws.parameters()

    def parameter(self, name: str) -> Parameter:
        return self._aws.parameter(name)


def test_references_are_resolved_from_one_reading(aws: Aws, table: Any) -> None:
    counted = Counted(aws)
    secrets = Secrets(counted, site(table))
    reference = "ssm:/pve1/nodes/{node}/ipmi_password"
    assert [secrets.resolve(reference, node=n) for n in ("node1", "node2")] == ["pw-node1", "pw-node2"]
    assert secrets.resolve("plain text") == "plain text"
    assert secrets.values() == {"pw-node1", "pw-node2"}
    assert counted.reads == 1


def test_a_missing_parameter_names_itself_and_who_wants_it(aws: Aws, table: Any) -> None:
    with pytest.raises(SecretError) as told:
        Secrets(aws, site(table)).resolve("ssm:/pve1/nodes/{node}/ipmi_password", node="node9")
    assert str(told.value) == (
        "AWS SSM parameter /pve1/nodes/node9/ipmi_password, to which lab: nodes[0].bmc.password refers,"
        " does not exist under /pve1 in us-west-2"
    )
    with pytest.raises(SecretError, match=r"cannot be read: expected ssm:/path with each {field} given"):
        parameter_name("ssm:/pve1/nodes/{node}/x")


def test_a_parameter_written_later_is_found_fresh(aws: Aws, table: Any) -> None:
    secrets = Secrets(aws, site(table))
    assert secrets.fresh("/pve1/nodes/node1/ssh_host_key") is None
    aws.put_parameter("/pve1/nodes/node1/ssh_host_key", "ssh-ed25519 AAAA")
    assert secrets.fresh("/pve1/nodes/node1/ssh_host_key") == "ssh-ed25519 AAAA"
    assert secrets.resolve("ssm:/pve1/nodes/node1/ssh_host_key") == "ssh-ed25519 AAAA"
    aws.delete_parameter("/pve1/nodes/node1/ssh_host_key")
    assert secrets.fresh("/pve1/nodes/node1/ssh_host_key") is not None
    secrets.forget()
    assert secrets.fresh("/pve1/nodes/node1/ssh_host_key") is None

"""The gate as boto3 meets it: who may do what, in each protocol's own words."""

from __future__ import annotations

import base64
import datetime
import json
import urllib.error
import urllib.request
from typing import Any

import botocore.exceptions
import pytest

from lab.standins.aws import seeding, signature
from lab.standins.aws.seeding import BUCKET, KEY_ALIAS, SECRET

from .conftest import OPERATOR, ROLE_ARN, Account


def code_of(call: Any, **arguments: Any) -> str:
    """The error code that a call ends with; empty when it succeeds."""
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def tree_of(client: Any, decrypt: bool = True) -> dict[str, dict[str, Any]]:
    pages = client.get_paginator("get_parameters_by_path").paginate(
        Path="/pve1", Recursive=True, WithDecryption=decrypt
    )
    return {entry["Name"]: entry for page in pages for entry in page["Parameters"]}


def test_operator_and_node_read_the_whole_tree(account: Account) -> None:
    wanted = {p.name: (p.kind, p.value) for p in account.order.parameters if p.name.startswith("/pve1/")}
    for client in (account.client("ssm"), account.node("ssm")):
        found = {name: (entry["Type"], entry["Value"]) for name, entry in tree_of(client).items()}
        assert found == wanted


def test_every_secret_is_under_the_customer_key(account: Account) -> None:
    described = account.client("ssm").get_paginator("describe_parameters").paginate()
    keys = {
        e["Name"]: e.get("KeyId") for page in described for e in page["Parameters"] if e["Type"] != "String"
    }
    assert set(keys.values()) == {KEY_ALIAS}
    assert "/pve1/nodes/node1/ipmi_password" in keys


def test_descriptions_do_not_give_values_away(account: Account) -> None:
    answer = account.client("ssm")
    raw: list[bytes] = []
    answer.meta.events.register(
        "after-call.ssm", lambda http_response, **_: raw.append(http_response.content)
    )
    answer.describe_parameters(MaxResults=50)
    assert b'"Value"' not in raw[0]


def test_without_decryption_there_is_only_ciphertext(account: Account) -> None:
    ssm, kms = account.client("ssm"), account.client("kms")
    shown = ssm.get_parameter(Name="/pve1/weka/password")["Parameter"]
    again = ssm.get_parameter(Name="/pve1/weka/password")["Parameter"]
    assert "secret of" not in shown["Value"]
    assert shown["Value"] == again["Value"]
    blob = base64.b64decode(shown["Value"])
    opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext={"PARAMETER_ARN": shown["ARN"]})
    assert opened["Plaintext"] == b"secret of weka/password"
    assert code_of(kms.decrypt, CiphertextBlob=blob) == "InvalidCiphertextException"


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "code"),
    [
        ("ssm", "get_parameter", {"Name": "/other/secret"}, "AccessDeniedException"),
        (
            "ssm",
            "get_parameters",
            {"Names": ["/pve1/cluster/name", "/other/secret"]},
            "AccessDeniedException",
        ),
        ("ssm", "get_parameters_by_path", {"Path": "/other"}, "AccessDeniedException"),
        ("ssm", "get_parameters_by_path", {"Path": "/"}, "AccessDeniedException"),
        (
            "ssm",
            "put_parameter",
            {"Name": "/pve1/network/domain", "Value": "x", "Overwrite": True, "Type": "String"},
            "AccessDeniedException",
        ),
        (
            "ssm",
            "put_parameter",
            {"Name": "/other/new", "Value": "x", "Type": "String"},
            "AccessDeniedException",
        ),
        (
            "ssm",
            "put_parameter",
            {
                "Name": "/pve1/nodes/node1/ipmi_password",
                "Value": "x",
                "Overwrite": True,
                "Type": "SecureString",
                "KeyId": KEY_ALIAS,
            },
            "AccessDeniedException",
        ),
        (
            "ssm",
            "put_parameter",
            {"Name": "/pve1/nodes/node1/new", "Value": "x", "Type": "SecureString"},
            "AccessDeniedException",
        ),  # under the account's own key, which is not the role's
        ("ssm", "delete_parameter", {"Name": "/pve1/cluster/name"}, "AccessDeniedException"),
        ("kms", "encrypt", {"KeyId": KEY_ALIAS, "Plaintext": b"x"}, "AccessDeniedException"),  # not via SSM
        ("secretsmanager", "list_secrets", {}, "AccessDeniedException"),
        ("s3", "list_buckets", {}, "AccessDenied"),
        ("s3", "get_bucket_policy", {"Bucket": BUCKET}, "AccessDenied"),
        ("s3", "list_objects_v2", {"Bucket": "somebody-else"}, "AccessDenied"),
        ("iam", "get_role", {"RoleName": "pve1-node-role"}, "AccessDenied"),
        (
            "cloudwatch",
            "put_metric_data",
            {"Namespace": "OTHER", "MetricData": [{"MetricName": "a", "Value": 1}]},
            "AccessDeniedException",
        ),
        ("sts", "assume_role", {"RoleArn": ROLE_ARN, "RoleSessionName": "again"}, "AccessDenied"),
    ],
)
def test_what_the_nodes_role_may_not(
    account: Account, service: str, operation: str, arguments: dict[str, Any], code: str
) -> None:
    assert code_of(getattr(account.node(service), operation), **arguments) == code


def test_what_the_nodes_role_may(account: Account) -> None:
    ssm, s3 = account.node("ssm"), account.node("s3")
    assert (
        code_of(ssm.put_parameter, Name="/pve1/cluster/cluster_id", Value="1", Type="String", Overwrite=True)
        == ""
    )
    assert (
        code_of(
            ssm.put_parameter,
            Name="/pve1/nodes/node1/token",
            Value="1",
            Type="SecureString",
            KeyId=KEY_ALIAS,
            Overwrite=True,
        )
        == ""
    )
    assert json.loads(account.node("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"]) == {
        "key": "backup-key"
    }
    s3.put_object(Bucket=BUCKET, Key="a b/ü+.txt", Body=b"chunk")
    assert s3.get_object(Bucket=BUCKET, Key="a b/ü+.txt")["Body"].read() == b"chunk"
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="a b/")["KeyCount"] == 1
    assert code_of(s3.delete_objects, Bucket=BUCKET, Delete={"Objects": [{"Key": "a b/ü+.txt"}]}) == ""
    assert (
        code_of(
            account.node("cloudwatch").put_metric_data,
            Namespace="PVE1",
            MetricData=[{"MetricName": "a", "Value": 1}],
        )
        == ""
    )
    assert account.node("sts").get_caller_identity()["Arn"].endswith(":assumed-role/pve1-node-role/node1")


def test_multipart_upload(account: Account) -> None:
    s3 = account.node("s3")
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="big")["UploadId"]
    part = s3.upload_part(Bucket=BUCKET, Key="big", UploadId=upload, PartNumber=1, Body=b"p" * 6_000_000)
    s3.complete_multipart_upload(
        Bucket=BUCKET,
        Key="big",
        UploadId=upload,
        MultipartUpload={"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]},
    )
    assert s3.head_object(Bucket=BUCKET, Key="big")["ContentLength"] == 6_000_000


def test_operator_sees_the_settings_but_administers_nothing(account: Account) -> None:
    s3, iam = account.client("s3"), account.client("iam")
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())
    trust = iam.get_role(RoleName="pve1-node-role")["Role"]["AssumeRolePolicyDocument"]
    assert not any(statement.get("Principal") == "*" for statement in trust["Statement"])
    assert account.client("kms").describe_key(KeyId=KEY_ALIAS)["KeyMetadata"]["Enabled"] is True
    assert code_of(iam.create_user, UserName="intruder") == "AccessDenied"
    assert (
        code_of(
            s3.create_bucket, Bucket="mine", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
        )
        == "AccessDenied"
    )
    assert code_of(account.client("ec2").describe_instances) == "AccessDenied"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"Name": "/pve1/a b"}, "ValidationException"),
        ({"Name": "/pve1/{node}"}, "ValidationException"),
        ({"Name": "/ssm/x"}, "AccessDeniedException"),
        ({"Name": "/pve1" + "/x" * 15}, "HierarchyLevelLimitExceededException"),
        ({"Name": "/pve1" + "/x" * 14}, ""),
        ({"Name": "/pve1/size", "Value": "x" * 4097}, "ValidationException"),
        ({"Name": "/pve1/size", "Value": "ü" * 2049}, "ValidationException"),
        ({"Name": "/pve1/size4", "Value": "x" * 4096}, ""),
        ({"Name": "/pve1/size8", "Value": "x" * 8192, "Tier": "Advanced"}, ""),
        (
            {"Name": "/pve1/size8", "Value": "x" * 8193, "Tier": "Advanced", "Overwrite": True},
            "ValidationException",
        ),
        ({"Name": "/pve1/network/domain"}, "ParameterAlreadyExists"),
        (
            {"Name": "/pve1/network/domain", "Type": "SecureString", "KeyId": KEY_ALIAS, "Overwrite": True},
            "HierarchyTypeMismatchException",
        ),
    ],
)
def test_limits_that_moto_does_not_have(account: Account, arguments: dict[str, Any], code: str) -> None:
    given = {"Value": "x", "Type": "String", **arguments}
    assert code_of(account.client("ssm").put_parameter, **given) == code


def test_an_unreadable_parameter_spoils_the_whole_read(account: Account) -> None:
    root, ssm = account.root("ssm"), account.client("ssm")
    root.put_parameter(Name="/pve1/foreign", Value="x", Type="SecureString", KeyId="alias/aws/ssm")
    try:
        with pytest.raises(botocore.exceptions.ClientError, match="you are not allowed to access"):
            tree_of(ssm)
        assert "/pve1/foreign" in tree_of(ssm, decrypt=False)
    finally:
        root.delete_parameter(Name="/pve1/foreign")


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "wrong_secret", "unknown_key"),
    [
        (
            "ssm",
            "get_parameter",
            {"Name": "/pve1/cluster/name"},
            "InvalidSignatureException",
            "UnrecognizedClientException",
        ),
        ("s3", "list_objects_v2", {"Bucket": BUCKET}, "SignatureDoesNotMatch", "InvalidAccessKeyId"),
        ("iam", "get_role", {"RoleName": "pve1-node-role"}, "SignatureDoesNotMatch", "InvalidClientTokenId"),
    ],
)
def test_strangers(
    account: Account,
    service: str,
    operation: str,
    arguments: dict[str, Any],
    wrong_secret: str,
    unknown_key: str,
) -> None:
    forged = account.client(service, secret="x" * 40)
    assert code_of(getattr(forged, operation), **arguments) == wrong_secret
    stranger = account.client(service, key="AKIANOBODYNOBODYNOBO")
    assert code_of(getattr(stranger, operation), **arguments) == unknown_key


def test_session_needs_its_own_token(account: Account) -> None:
    taken = account.client("sts").assume_role(RoleArn=ROLE_ARN, RoleSessionName="node2")["Credentials"]
    for token in (None, "wrong"):
        client = account.client("ssm", taken["AccessKeyId"], taken["SecretAccessKey"], token)
        assert code_of(client.get_parameter, Name="/pve1/cluster/name") == "UnrecognizedClientException"


def test_session_expires(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    from lab.standins.aws import gate

    client = account.node("ssm")
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2)

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return later

    monkeypatch.setattr(gate.datetime, "datetime", Clock)
    assert code_of(client.get_parameter, Name="/pve1/cluster/name") == "ExpiredTokenException"


def test_clock_skew_is_refused(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signature, "MAX_SKEW_S", -1.0)
    assert (
        code_of(account.client("ssm").get_parameter, Name="/pve1/cluster/name") == "InvalidSignatureException"
    )


@pytest.mark.parametrize("path", ["/moto-api/data.json", "/moto-api/reset", "/latest/meta-data/"])
def test_moto_shows_nothing_of_itself(account: Account, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(account.url + path, timeout=5)
    assert caught.value.code == 404


def test_anonymous_is_refused(account: Account) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{account.url}/{BUCKET}/x", timeout=5)
    assert caught.value.code == 403


def test_changes_outlive_a_restart(account: Account) -> None:
    account.client("ssm").put_parameter(
        Name="/pve1/cluster/nodes", Value="a,b", Type="String", Overwrite=True
    )
    account.root("ssm").delete_parameter(Name="/pve1/backup/s3_bucket")
    held = {p.name: p.value for p in seeding.remembered(account.order.parameters, account.snapshot)}
    assert held["/pve1/cluster/nodes"] == "a,b"
    assert "/pve1/backup/s3_bucket" not in held
    assert held["/pve1/weka/password"] == "secret of weka/password"
    assert account.snapshot.stat().st_mode & 0o777 == 0o600
    account.root("ssm").put_parameter(Name="/pve1/backup/s3_bucket", Value=BUCKET, Type="String")


def test_operator_key_switched_off(account: Account) -> None:
    iam = account.root("iam")
    iam.update_access_key(UserName="operator", AccessKeyId=OPERATOR[0], Status="Inactive")
    try:
        assert code_of(account.client("ssm").get_parameter, Name="/pve1/cluster/name") == (
            "UnrecognizedClientException"
        )
    finally:
        iam.update_access_key(UserName="operator", AccessKeyId=OPERATOR[0], Status="Active")


def test_bucket_policy_and_managed_policy_count(account: Account) -> None:
    s3, iam = account.root("s3"), account.root("iam")
    deny = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutObject",
                "Resource": f"arn:aws:s3:::{BUCKET}/locked/*",
            }
        ],
    }
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(deny))
    assert code_of(account.client("s3").put_object, Bucket=BUCKET, Key="locked/x", Body=b"") == "AccessDenied"
    s3.delete_bucket_policy(Bucket=BUCKET)
    allow = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*"}],
    }
    made = iam.create_policy(PolicyName="pve1-extra", PolicyDocument=json.dumps(allow))["Policy"]["Arn"]
    iam.attach_user_policy(UserName="operator", PolicyArn=made)
    assert code_of(account.client("iam").list_users) == ""
    iam.detach_user_policy(UserName="operator", PolicyArn=made)
    assert code_of(account.client("iam").list_users) == "AccessDenied"

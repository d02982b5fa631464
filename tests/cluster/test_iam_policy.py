"""Policies: what they allow is decided as AWS does, and each mistake of the plan's own documents is found."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cluster.iam_lint import Scope, lint_key, lint_rights, lint_trust
from cluster.iam_policy import PolicyError, Request, arn_like, evaluate, statements

ACCOUNT = "123456789012"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1234"
SCOPE = Scope("us-west-2", ACCOUNT, "/pve1", "pve1-backups", KEY)
PATH = f"arn:aws:ssm:us-west-2:{ACCOUNT}:parameter/pve1"
VIA = ["ssm.us-west-2.amazonaws.com", "secretsmanager.us-west-2.amazonaws.com"]
Policy = dict[str, Any]


def policy(*statements: Policy) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action: Any, resource: Any = "*", **more: Any) -> Policy:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def sound() -> Policy:
    """The role as it should be."""
    return policy(
        allow(
            ["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"],
            [PATH, f"{PATH}/*"],
            Sid="Read",
        ),
        allow("ssm:PutParameter", [f"{PATH}/cluster/*", f"{PATH}/nodes/*"], Sid="Write"),
        {
            "Sid": "NoSecrets",
            "Effect": "Deny",
            "Action": ["ssm:PutParameter", "ssm:DeleteParameter*"],
            "Resource": [f"{PATH}/nodes/*/ipmi_*", f"{PATH}/cluster/*_key"],
        },
        {
            "Sid": "NoPeople",
            "Effect": "Deny",
            "Action": "ssm:Get*",
            "Resource": f"{PATH}/ssh_keys/admin/private_key",
        },
        allow(
            ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"],
            KEY,
            Sid="Kms",
            Condition={"StringEquals": {"kms:ViaService": VIA}},
        ),
        allow("s3:ListBucket", "arn:aws:s3:::pve1-backups", Sid="Bucket"),
        allow(
            ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"],
            "arn:aws:s3:::pve1-backups/*",
            Sid="Objects",
        ),
    )


def trust() -> Policy:
    return policy(
        {
            "Sid": "Nodes",
            "Effect": "Allow",
            "Principal": {"Service": "rolesanywhere.amazonaws.com"},
            "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
            "Condition": {
                "ArnEquals": {"aws:SourceArn": f"arn:aws:rolesanywhere:us-west-2:{ACCOUNT}:trust-anchor/1"}
            },
        }
    )


def with_statement(document: Policy, number: int, **changes: Any) -> Policy:
    """The document with keys of one statement set, or dropped where the value is None."""
    document = copy.deepcopy(document)
    for key, value in changes.items():
        if value is None:
            document["Statement"][number].pop(key)
        else:
            document["Statement"][number][key] = value
    return document


@pytest.mark.parametrize(
    ("action", "resource", "context", "effect"),
    [
        ("ssm:GetParameter", f"{PATH}/cluster/name", {}, "allow"),
        ("SSM:getparameter", f"{PATH}/cluster/name", {}, "allow"),
        ("ssm:GetParametersByPath", PATH, {}, "allow"),
        ("ssm:GetParameter", f"arn:aws:ssm:us-west-2:{ACCOUNT}:parameter/other/x", {}, "implicit deny"),
        ("ssm:GetParameter", f"arn:aws:ssm:us-west-2:{ACCOUNT}:parameter/pve12", {}, "implicit deny"),
        ("ssm:GetParameter", f"arn:aws:ssm:eu-west-1:{ACCOUNT}:parameter/pve1/x", {}, "implicit deny"),
        ("ssm:PutParameter", f"{PATH}/nodes/node1/state", {}, "allow"),
        ("ssm:PutParameter", f"{PATH}/nodes/node1/ipmi_password", {}, "explicit deny"),
        ("ssm:DeleteParameters", f"{PATH}/cluster/corosync_key", {}, "explicit deny"),
        ("ssm:DeleteParameter", f"{PATH}/cluster/name", {}, "implicit deny"),
        ("kms:Decrypt", KEY, {"kms:ViaService": VIA[0]}, "allow"),
        ("kms:Decrypt", KEY, {"KMS:viaservice": VIA[0]}, "allow"),
        ("kms:Decrypt", KEY, {"kms:ViaService": "s3.us-west-2.amazonaws.com"}, "implicit deny"),
        ("kms:Decrypt", KEY, {}, "implicit deny"),
        ("s3:GetObject", "arn:aws:s3:::pve1-backups/a/b", {}, "allow"),
        ("s3:GetObject", "arn:aws:s3:::pve1-backups", {}, "implicit deny"),
        ("s3:ListBucket", "arn:aws:s3:::pve1-backups-2", {}, "implicit deny"),
    ],
)
def test_requests_are_decided(action: str, resource: str, context: dict[str, str], effect: str) -> None:
    assert evaluate([sound()], Request(action, resource, context)).effect == effect


def test_the_decision_names_its_statement() -> None:
    decision = evaluate([sound()], Request("ssm:PutParameter", f"{PATH}/cluster/corosync_key"))
    assert (decision.effect, decision.sid, decision.allowed) == ("explicit deny", "NoSecrets", False)


def test_a_deny_in_another_document_wins() -> None:
    denial = policy({"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"})
    assert not evaluate([sound(), denial], Request("ssm:GetParameter", f"{PATH}/x")).allowed
    assert evaluate([denial, sound()], Request("s3:GetObject", "arn:aws:s3:::pve1-backups/x")).allowed


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringLike": {"aws:userid": "AIDA*"}}, {"aws:userid": "AIDA1"}, True),
        ({"StringLike": {"aws:userid": "AIDA?"}}, {"aws:userid": "AIDA12"}, False),
        ({"StringNotEquals": {"aws:PrincipalTag/team": "red"}}, {"aws:PrincipalTag/team": "blue"}, True),
        ({"StringNotEquals": {"aws:PrincipalTag/team": "red"}}, {}, True),
        ({"StringEqualsIfExists": {"a:b": "x"}}, {}, True),
        ({"StringEqualsIfExists": {"a:b": "x"}}, {"a:b": "y"}, False),
        ({"Bool": {"aws:SecureTransport": "true"}}, {"aws:SecureTransport": "true"}, True),
        ({"Bool": {"aws:SecureTransport": True}}, {"aws:SecureTransport": "false"}, False),
        ({"IpAddress": {"aws:SourceIp": "10.6.0.0/24"}}, {"aws:SourceIp": "10.6.0.11"}, True),
        ({"NotIpAddress": {"aws:SourceIp": "10.6.0.0/24"}}, {"aws:SourceIp": "10.6.0.11"}, False),
        ({"Null": {"aws:TokenIssueTime": "true"}}, {}, True),
        ({"Null": {"aws:TokenIssueTime": "true"}}, {"aws:TokenIssueTime": "x"}, False),
        ({"NumericLessThanEquals": {"s3:max-keys": "10"}}, {"s3:max-keys": "10"}, True),
        ({"ArnLike": {"aws:SourceArn": f"arn:aws:ssm:*:{ACCOUNT}:*"}}, {"aws:SourceArn": PATH}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:TagKeys": ("a", "b")}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:TagKeys": ("a", "c")}, False),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:TagKeys": ("a", "c")}, True),
        ({"StringEquals": {"a:b": "x", "c:d": "y"}}, {"a:b": "x"}, False),
        ({"StringEquals": {"a:b": "${aws:username}"}}, {"a:b": "jo", "aws:username": "jo"}, True),
        ({"StringEquals": {"a:b": "${aws:username}"}}, {"a:b": "jo"}, False),
    ],
)
def test_conditions_hold_as_aws_says(condition: Any, context: dict[str, Any], holds: bool) -> None:
    document = policy(allow("x:Y", Condition=condition))
    assert evaluate([document], Request("x:Y", "*", context)).allowed is holds


def test_an_arn_is_matched_part_by_part() -> None:
    assert arn_like("arn:aws:ssm:*:*:parameter/pve1/*", f"{PATH}/a/b")
    assert arn_like("arn:aws:ssm", f"{PATH}/a")
    assert not arn_like("arn:aws:ssm:*:parameter/pve1/*", f"{PATH}/a")
    assert not arn_like("arn:aws:s3:::*", PATH)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "expected a policy document"),
        ({"Statement": []}, 'Version: expected "2012-10-17"'),
        (policy({"Effect": "allow", "Action": "x:Y"}), "statement 1.Effect: expected Allow or Deny"),
        (policy({"Effect": "Allow"}), "either Action or NotAction"),
        (policy(allow("x:Y", Conditions={})), "unknown key Conditions"),
        (policy(allow([])), "statement 1.Action: expected a text"),
        (policy(allow("x:Y", Principal="ec2")), "statement 1.Principal"),
        (policy(allow("x:Y", Condition={"StringEquals": "x"})), "expected an object of condition keys"),
    ],
)
def test_what_is_no_policy_is_refused(document: Any, says: str) -> None:
    with pytest.raises(PolicyError) as raised:
        statements(document)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("condition", "context"),
    [
        ({"StringMatches": {"a:b": "x"}}, {"a:b": "x"}),
        ({"NumericEquals": {"a:b": "many"}}, {"a:b": "2"}),
        ({"IpAddress": {"a:b": "everywhere"}}, {"a:b": "10.0.0.1"}),
    ],
)
def test_a_condition_that_cannot_be_judged_is_never_a_yes(condition: Any, context: dict[str, str]) -> None:
    with pytest.raises(PolicyError):
        evaluate([policy(allow("x:Y", Condition=condition))], Request("x:Y", "*", context))


def test_a_sound_role_has_no_findings() -> None:
    assert [str(each) for each in lint_rights([sound()], SCOPE)] == []
    assert [str(each) for each in lint_trust(trust(), "rolesanywhere")] == []


RIGHTS: list[tuple[str, str, Policy]] = [
    ("IAM-PATH", "only its children", with_statement(sound(), 0, Resource=f"{PATH}/*")),
    ("IAM-READ", "may not be read", with_statement(sound(), 0, Action="ssm:DescribeParameters")),
    (
        "IAM-OVERWRITE",
        "never be made",
        with_statement(sound(), 1, Condition={"Bool": {"ssm:Overwrite": "true"}}),
    ),
    (
        "IAM-KMS-WRITE",
        "kms:Encrypt and kms:GenerateDataKey",
        with_statement(sound(), 4, Action="kms:Decrypt"),
    ),
    (
        "IAM-KMS-WRITE",
        "kms:GenerateDataKey",
        with_statement(sound(), 4, Action=["kms:Decrypt", "kms:Encrypt"]),
    ),
    (
        "IAM-KMS-READ",
        "not decrypted",
        with_statement(sound(), 4, Action=["kms:Encrypt", "kms:GenerateDataKey"]),
    ),
    (
        "IAM-VIASERVICE",
        "Instead: secretsmanager.us-west-2.amazonaws.com",
        with_statement(
            sound(),
            4,
            Condition={
                "StringEquals": {"kms:ViaService": [VIA[0], "secrets-manager.us-west-2.amazonaws.com"]}
            },
        ),
    ),
    (
        "IAM-VIASERVICE",
        "is not in us-west-2",
        with_statement(
            sound(),
            4,
            Condition={"StringEquals": {"kms:ViaService": [VIA[0], "ssm.us-east-1.amazonaws.com"]}},
        ),
    ),
    (
        "IAM-S3-ARN",
        "s3:ListBucket is allowed on",
        with_statement(sound(), 5, Resource="arn:aws:s3:::pve1-backups/*"),
    ),
    ("IAM-S3-ARN", "s3:GetObject", with_statement(sound(), 6, Resource="arn:aws:s3:::pve1-backups")),
    ("IAM-S3-MULTIPART", "breaks off", with_statement(sound(), 6, Action=["s3:GetObject", "s3:PutObject"])),
    ("IAM-TOO-MUCH", "outside of its path may be read", with_statement(sound(), 0, Resource="*")),
    ("IAM-TOO-MUCH", "outside of its path may be written", with_statement(sound(), 1, Resource="*")),
    ("IAM-TOO-MUCH", "BMC's password", with_statement(sound(), 2, Action="ssm:DeleteParameter")),
    (
        "IAM-TOO-MUCH",
        "deleted",
        with_statement(sound(), 1, Action=["ssm:PutParameter", "ssm:DeleteParameter"]),
    ),
    ("IAM-TOO-MUCH", "other buckets", with_statement(sound(), 5, Resource="*")),
    ("IAM-TOO-MUCH", "more rights", policy(*sound()["Statement"], allow("iam:*"))),
    ("IAM-ADMIN-KEY", "private key", with_statement(sound(), 3, Resource=f"{PATH}/nothing")),
]


@pytest.mark.parametrize(
    ("finding", "says", "document"), RIGHTS, ids=[f"{r[0]}-{n}" for n, r in enumerate(RIGHTS)]
)
def test_each_mistake_in_the_rights_is_found(finding: str, says: str, document: Policy) -> None:
    found = lint_rights([document], SCOPE)
    assert any(each.id == finding and says in str(each) for each in found), [str(each) for each in found]


TRUST: list[tuple[str, str, Policy]] = [
    ("IAM-ANYBODY", "rolesanywhere", with_statement(trust(), 0, Principal="*", Condition=None)),
    ("IAM-ANYBODY", "rolesanywhere", with_statement(trust(), 0, Principal={"AWS": ["*"]}, Condition=None)),
    (
        "IAM-TRUST-MISSING",
        "rolesanywhere",
        with_statement(trust(), 0, Principal={"Service": "ssm.amazonaws.com"}),
    ),
    (
        "IAM-TRUST-EC2",
        "rolesanywhere",
        policy(
            *trust()["Statement"],
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ),
    ),
    ("IAM-TRUST-ACTIONS", "rolesanywhere", with_statement(trust(), 0, Action="sts:AssumeRole")),
    ("IAM-TRUST-ANCHOR", "rolesanywhere", with_statement(trust(), 0, Condition=None)),
    (
        "IAM-TRUST-ACCOUNT",
        "hybrid",
        policy(
            {"Effect": "Allow", "Principal": {"Service": "ssm.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ),
    ),
]


@pytest.mark.parametrize(
    ("finding", "source", "document"), TRUST, ids=[f"{t[0]}-{n}" for n, t in enumerate(TRUST)]
)
def test_each_mistake_in_the_trust_is_found(finding: str, source: Any, document: Policy) -> None:
    assert finding in {each.id for each in lint_trust(document, source)}


def test_a_wildcard_with_a_condition_is_not_everybody() -> None:
    document = with_statement(
        trust(), 0, Principal="*", Condition={"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}
    )
    assert "IAM-ANYBODY" not in {each.id for each in lint_trust(document, "profile")}


def test_the_key_s_own_policy_is_read_too() -> None:
    """The plan's key policy: a misspelt endpoint of Secrets Manager, and anybody may use it."""
    document = policy(
        allow("kms:Decrypt", Principal="*", Sid="Open"),
        allow(
            "kms:Decrypt",
            Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:role/pve1-node-role"},
            Condition={"StringEquals": {"kms:ViaService": "secrets-manager.us-west-2.amazonaws.com"}},
        ),
    )
    assert [each.id for each in lint_key(document)] == ["IAM-ANYBODY", "IAM-VIASERVICE"]


def test_the_plan_s_own_documents() -> None:
    """Every fault that the plan has in its AWS documents (F-A.1, F-A.2, F-A.4, the overwrite condition)."""
    rights = policy(
        allow(["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"], f"{PATH}/*"),
        allow("ssm:PutParameter", f"{PATH}/*", Condition={"StringEquals": {"ssm:Overwrite": "true"}}),
        allow(
            ["kms:Decrypt", "kms:DescribeKey"], KEY, Condition={"StringEquals": {"kms:ViaService": VIA[0]}}
        ),
        allow(["s3:ListBucket", "s3:GetBucketLocation"], "arn:aws:s3:::pve1-backups"),
        allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "arn:aws:s3:::pve1-backups/*"),
    )
    assert {each.id for each in lint_rights([rights], SCOPE)} == {
        "IAM-PATH",
        "IAM-OVERWRITE",
        "IAM-KMS-WRITE",
        "IAM-S3-MULTIPART",
        "IAM-ADMIN-KEY",
    }
    everybody = policy(
        {
            "Effect": "Allow",
            "Principal": {"Service": ["ec2.amazonaws.com", "ssm.amazonaws.com"], "AWS": "*"},
            "Action": "sts:AssumeRole",
        }
    )
    assert {each.id for each in lint_trust(everybody, "rolesanywhere")} == {
        "IAM-ANYBODY",
        "IAM-TRUST-MISSING",
        "IAM-TRUST-EC2",
        "IAM-TRUST-ACCOUNT",
    }

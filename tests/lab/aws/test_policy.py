"""The evaluator on its own: tables of statements and requests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import rack as racks
from lab.standins.aws import s3_actions, tree
from lab.standins.aws.calls import Call
from lab.standins.aws.parameters import NAME
from lab.standins.aws.policy import Decision, PolicyError, Request, arn_matches, evaluate, glob, parse

ARN = "arn:aws:ssm:us-west-2:123456789012:parameter/pve1/a/b"


def statement(
    effect: str = "Allow", action: Any = "ssm:GetParameter", resource: Any = "*", **more: Any
) -> Any:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def decide(
    *statements: Any, action: str = "ssm:GetParameter", resource: str = ARN, **context: Any
) -> Decision:
    keys = {
        name.replace("__", ":").lower(): (value,) if isinstance(value, str) else tuple(value)
        for name, value in context.items()
    }
    return evaluate([{"Statement": list(statements)}], Request(action, resource, keys))


def test_order_of_decision() -> None:
    assert decide() is Decision.IMPLICIT_DENY
    assert decide(statement()) is Decision.ALLOW
    assert decide(statement(), statement("Deny")) is Decision.EXPLICIT_DENY
    assert decide(statement("Deny"), statement()) is Decision.EXPLICIT_DENY


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("ssm:GetParameter", True),
        ("SSM:getparameter", True),
        ("ssm:Get*", True),
        ("ssm:*", True),
        ("*", True),
        ("ssm:Get", False),
        ("ssm:GetParameters", False),
        ("kms:*", False),
        ("ssm:GetParamete?", True),
    ],
)
def test_actions(pattern: str, matches: bool) -> None:
    assert (decide(statement(action=pattern)) is Decision.ALLOW) is matches


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (ARN, True),
        (ARN[:-1] + "*", True),
        ("arn:aws:ssm:*:*:parameter/pve1/*", True),
        ("arn:aws:ssm:us-west-2:123456789012:parameter/pve1", False),
        ("arn:aws:ssm:us-west-2:123456789012:parameter/pve1/*", True),
        ("arn:aws:ssm:*:parameter/pve1/*", False),
        ("arn:aws:ssm:us-east-1:*:*", False),
        ("*", True),
        ("arn:aws:ssm:us-west-2:123456789012:parameter/PVE1/*", False),
    ],
)
def test_resources(pattern: str, matches: bool) -> None:
    assert (decide(statement(resource=pattern)) is Decision.ALLOW) is matches


def test_negated_elements() -> None:
    assert decide({"Effect": "Allow", "NotAction": "kms:*", "Resource": "*"}) is Decision.ALLOW
    assert decide({"Effect": "Allow", "NotAction": "ssm:*", "Resource": "*"}) is Decision.IMPLICIT_DENY
    assert decide({"Effect": "Deny", "Action": "*", "NotResource": ARN}) is Decision.IMPLICIT_DENY


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"kms:ViaService": ["a", "b"]}}, {"kms__ViaService": "b"}, True),
        ({"StringEquals": {"kms:ViaService": "a"}}, {"kms__ViaService": "b"}, False),
        ({"StringEquals": {"kms:ViaService": "a"}}, {}, False),
        ({"StringEqualsIfExists": {"kms:ViaService": "a"}}, {}, True),
        ({"StringNotEquals": {"k": "a"}}, {}, True),
        ({"StringNotEquals": {"k": ["a", "b"]}}, {"k": "b"}, False),
        ({"StringLike": {"k": "ab*"}}, {"k": "abc"}, True),
        ({"StringLike": {"k": "ab*"}}, {"k": "xabc"}, False),
        ({"Bool": {"ssm:Overwrite": True}}, {"ssm__Overwrite": "true"}, True),
        ({"Bool": {"ssm:Overwrite": "true"}}, {"ssm__Overwrite": "false"}, False),
        ({"Bool": {"ssm:Overwrite": "true"}}, {}, False),
        (
            {"ArnLike": {"aws:SourceArn": "arn:aws:ssm:*:*:x/*"}},
            {"aws__SourceArn": "arn:aws:ssm:a:b:x/y"},
            True,
        ),
        (
            {"ArnEquals": {"aws:SourceArn": "arn:aws:ssm:a:b:x"}},
            {"aws__SourceArn": "arn:aws:ssm:a:b:y"},
            False,
        ),
        ({"Null": {"k": "true"}}, {}, True),
        ({"Null": {"k": "false"}}, {"k": "x"}, True),
        ({"NumericLessThan": {"k": "5"}}, {"k": "4"}, True),
        ({"NumericLessThan": {"k": "5"}}, {"k": "many"}, False),
        ({"IpAddress": {"aws:SourceIp": "10.9.0.0/24"}}, {"aws__SourceIp": "10.9.0.1"}, True),
        ({"NotIpAddress": {"aws:SourceIp": "10.9.0.0/24"}}, {"aws__SourceIp": "10.9.0.1"}, False),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a", "b"]}, True),
        ({"ForAllValues:StringEquals": {"k": ["a"]}}, {"k": ["a", "b"]}, False),
        ({"ForAnyValue:StringEquals": {"k": ["a"]}}, {"k": ["a", "b"]}, True),
        ({"StringEquals": {"a": "1", "b": "2"}}, {"a": "1"}, False),
        ({"StringEquals": {"k": "${aws:username}"}}, {"k": "operator", "aws__username": "operator"}, True),
        ({"StringEquals": {"k": "${aws:username}"}}, {"k": ""}, False),
    ],
)
def test_conditions(condition: Any, context: dict[str, Any], holds: bool) -> None:
    assert (decide(statement(Condition=condition), **context) is Decision.ALLOW) is holds


def test_what_is_not_understood_is_not_allowed() -> None:
    with pytest.raises(PolicyError, match="DateGreaterThan"):
        decide(statement(Condition={"DateGreaterThan": {"k": "x"}}), k="x")
    with pytest.raises(PolicyError, match="not JSON"):
        parse("{")


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [
        ("*", True),
        ({"AWS": "*"}, True),
        ({"AWS": "arn:aws:iam::1:user/me"}, True),
        ({"AWS": ["x", "arn:aws:iam::1:user/me"]}, True),
        ({"AWS": "arn:aws:iam::1:user/you"}, False),
        ({"Service": "rolesanywhere.amazonaws.com"}, False),
    ],
)
def test_principals_of_resource_policies(principal: Any, allowed: bool) -> None:
    request = Request(
        "sts:AssumeRole", "arn:aws:iam::1:role/r", {}, frozenset({"AWS:arn:aws:iam::1:user/me"})
    )
    document = {"Statement": {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}}
    assert (evaluate([document], request, resource_policy=True) is Decision.ALLOW) is allowed


@given(st.text(max_size=20))
def test_a_pattern_without_wildcards_matches_itself_only(text: str) -> None:
    plain = text.replace("*", "").replace("?", "")
    assert glob(plain, plain)
    assert not glob(plain, plain + "x")
    assert arn_matches("*", text)


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/", "s3:ListAllMyBuckets"),
        ("GET", "/b?list-type=2", "s3:ListBucket"),
        ("HEAD", "/b", "s3:ListBucket"),
        ("PUT", "/b", "s3:CreateBucket"),
        ("DELETE", "/b", "s3:DeleteBucket"),
        ("GET", "/b?versions", "s3:ListBucketVersions"),
        ("GET", "/b?location", "s3:GetBucketLocation"),
        ("PUT", "/b?policy", "s3:PutBucketPolicy"),
        ("DELETE", "/b?policy", "s3:DeleteBucketPolicy"),
        ("PUT", "/b?lifecycle", "s3:PutLifecycleConfiguration"),
        ("GET", "/b/k", "s3:GetObject"),
        ("GET", "/b/k?versionId=1", "s3:GetObjectVersion"),
        ("PUT", "/b/k", "s3:PutObject"),
        ("POST", "/b/k?uploads", "s3:PutObject"),
        ("DELETE", "/b/k?uploadId=1", "s3:AbortMultipartUpload"),
        ("DELETE", "/b/k", "s3:DeleteObject"),
        ("GET", "/b/k?tagging", "s3:GetObjectTagging"),
        ("GET", "/b/k?uploadId=1", "s3:ListMultipartUploadParts"),
    ],
)
def test_s3_requests_need_the_right_action(method: str, target: str, expected: str) -> None:
    path, _, query = target.partition("?")
    call = Call(method, path, query, {}, b"", "", None, "s3", "rest-xml", "")
    ((action, resource, _),) = s3_actions.actions(call)
    assert action == expected
    assert resource.startswith("arn:aws:s3:::")


def test_copying_needs_the_right_to_read_the_source() -> None:
    call = Call(
        "PUT", "/b/k", "", {"x-amz-copy-source": "/other/key%20x"}, b"", "", None, "s3", "rest-xml", ""
    )
    assert [(action, arn) for action, arn, _ in s3_actions.actions(call)] == [
        ("s3:PutObject", "arn:aws:s3:::b/k"),
        ("s3:GetObject", "arn:aws:s3:::other/key x"),
    ]


def test_seeded_names_are_unique_and_legal() -> None:
    rack = racks.load()
    public = {f"ssh_keys/{who}/public_key": "k" for who in ("ansible", "admin")}
    public |= {f"switches/{switch.name}/host_key": "k" for switch in rack.switch}
    seeded = tree.parameters(rack, dict.fromkeys(tree.secrets_needed(rack), "s"), public)
    names = [parameter.name for parameter in seeded]
    assert len(names) == len(set(names))
    assert all(NAME.fullmatch(name) for name in names)
    secret_words = ("password", "private_key", "secret", "_key", "root_password_hash")
    for parameter in seeded:
        leaf = parameter.name.rpartition("/")[2]
        if leaf not in ("public_key", "host_key") and any(word in leaf for word in secret_words):
            assert parameter.kind == "SecureString", parameter.name

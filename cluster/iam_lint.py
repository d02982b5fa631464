"""Mistakes in the policies of the nodes' role that work until they matter, each found without asking AWS.

`lint_trust` reads who may take the role, `lint_rights` what the role may do, `lint_key` who may use the key.
Each of the rules is a fault that the plan's own documents contain, or its nearest relative.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cluster.iam_policy import Document, Request, Statement, evaluate, names_action, statements

Source = Literal["rolesanywhere", "hybrid", "profile", "env", "instance-profile"]

_VOUCHES = {"rolesanywhere": "Service:rolesanywhere.amazonaws.com", "hybrid": "Service:ssm.amazonaws.com"}
_ANYWHERE_ACTIONS = ("sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity")
_SERVICES = (
    "ssm",
    "secretsmanager",
    "s3",
    "ec2",
    "rds",
    "logs",
    "sns",
    "sqs",
    "lambda",
    "dynamodb",
    "backup",
)


@dataclass(frozen=True)
class Finding:
    """One mistake. Errors break something or open it to others; warnings give more than is needed."""

    id: str
    severity: Literal["error", "warning"]
    sid: str
    problem: str
    instead: str

    def __str__(self) -> str:
        return f"{self.id} ({self.severity}) {self.sid}: {self.problem}. Instead: {self.instead}."


@dataclass(frozen=True)
class Scope:
    """What the role is for: where its parameters, its bucket and its key are."""

    region: str
    account: str
    root: str
    bucket: str
    key_arn: str

    def parameter(self, name: str = "") -> str:
        """ARN of a parameter below the root; of the root itself without a name."""
        return f"arn:aws:ssm:{self.region}:{self.account}:parameter{self.root}{'/' if name else ''}{name}"

    @property
    def via_ssm(self) -> Mapping[str, str]:
        """The context of a call that SSM makes with the caller's rights."""
        return {"kms:ViaService": f"ssm.{self.region}.amazonaws.com"}


def _anybody(statement: Statement) -> bool:
    return statement.allow and ("AWS:*" in statement.principals or bool(statement.not_principals))


def _wildcards(document: Document) -> Iterator[Finding]:
    for each in statements(document):
        if _anybody(each) and not each.conditions:
            yield Finding(
                "IAM-ANYBODY",
                "error",
                each.sid,
                "every AWS principal of every account, without a condition",
                "one account, role or service; with a condition where it must be a wildcard",
            )


def lint_trust(document: Document, source: Source) -> list[Finding]:
    """Who may take the role, for machines that identify themselves by `source`. Raises PolicyError."""
    found = list(_wildcards(document))
    read = statements(document)
    needed = _VOUCHES.get(source)
    if needed is not None and not any(each.allow and needed in each.principals for each in read):
        found.append(
            Finding(
                "IAM-TRUST-MISSING",
                "error",
                "trust policy",
                f"{needed.removeprefix('Service:')} may not take the role, so nodes cannot by {source}",
                "trust it",
            )
        )
    for each in (statement for statement in read if statement.allow):
        keys = {key.lower() for _, key, _ in each.conditions}
        if "Service:ec2.amazonaws.com" in each.principals:
            found.append(
                Finding(
                    "IAM-TRUST-EC2",
                    "warning",
                    each.sid,
                    "ec2.amazonaws.com serves no node outside EC2 and lets in any instance of the account",
                    "leave it out",
                )
            )
        if _VOUCHES["rolesanywhere"] in each.principals:
            lacking = [action for action in _ANYWHERE_ACTIONS if not names_action(each, action)]
            if lacking:
                found.append(
                    Finding(
                        "IAM-TRUST-ACTIONS",
                        "error",
                        each.sid,
                        f"Roles Anywhere also calls {' and '.join(lacking)}",
                        "allow all three actions",
                    )
                )
            if not keys & {"aws:sourcearn", "aws:principaltag/x509subject/cn"}:
                found.append(
                    Finding(
                        "IAM-TRUST-ANCHOR",
                        "error",
                        each.sid,
                        "any certificate of any trust anchor of the account takes the role",
                        "a condition on aws:SourceArn and on the subject",
                    )
                )
        if _VOUCHES["hybrid"] in each.principals and "aws:sourceaccount" not in keys:
            found.append(
                Finding(
                    "IAM-TRUST-ACCOUNT",
                    "warning",
                    each.sid,
                    "ssm.amazonaws.com without a condition acts for other accounts too",
                    "a condition on aws:SourceAccount",
                )
            )
    return found


def lint_key(document: Document) -> list[Finding]:
    """Who may use the key. Raises PolicyError."""
    return [*_wildcards(document), *_via_service([document], None)]


def lint_rights(documents: Sequence[Document], scope: Scope) -> list[Finding]:
    """What the role may do, all its policies together. Raises PolicyError."""
    return [
        *_via_service(documents, scope.region),
        *_parameters(documents, scope),
        *_keys(documents, scope),
        *_bucket(documents, scope),
        *_too_much(documents, scope),
    ]


def _via_service(documents: Sequence[Document], region: str | None) -> Iterator[Finding]:
    """kms:ViaService compares host names: one letter wrong, and the statement never applies."""
    for each in (statement for document in documents for statement in statements(document)):
        for _, key, values in each.conditions:
            for host in values if key.lower() == "kms:viaservice" else ():
                service, _, rest = host.partition(".")
                if service not in _SERVICES and "*" not in service:
                    near = difflib.get_close_matches(service.replace("-", ""), _SERVICES, n=1, cutoff=0.8)
                    better = f"{near[0]}.{rest}" if near else "the name of a service's endpoint"
                    yield Finding(
                        "IAM-VIASERVICE",
                        "error",
                        each.sid,
                        f"kms:ViaService {host} is no service's endpoint, so the statement never applies",
                        better,
                    )
                elif region is not None and "*" not in rest and rest != f"{region}.amazonaws.com":
                    yield Finding(
                        "IAM-VIASERVICE",
                        "error",
                        each.sid,
                        f"kms:ViaService {host} is not in {region}",
                        f"{service}.{region}.amazonaws.com",
                    )


def _parameters(documents: Sequence[Document], scope: Scope) -> Iterator[Finding]:
    def allowed(action: str, resource: str, **context: str) -> bool:
        return evaluate(documents, Request(action, resource, context)).allowed

    child = scope.parameter("cluster/name")
    if not allowed("ssm:GetParameter", child):
        yield Finding(
            "IAM-READ",
            "error",
            "ssm:GetParameter",
            f"{child} may not be read",
            f"allow it on {scope.parameter()}/*",
        )
    if not allowed("ssm:GetParametersByPath", scope.parameter()):
        listed = allowed("ssm:GetParametersByPath", child)
        yield Finding(
            "IAM-PATH",
            "error",
            "ssm:GetParametersByPath",
            "the call is authorised on the path itself, and"
            f" {'only its children are' if listed else 'it is not'} allowed",
            f"name {scope.parameter()} beside {scope.parameter()}/*",
        )
    for each in (statement for document in documents for statement in statements(document)):
        for operator, key, values in each.conditions:
            if key.lower() == "ssm:overwrite" and names_action(each, "ssm:PutParameter") and each.allow:
                only = values == ("true",) and not operator.endswith("IfExists")
                other = allowed("ssm:PutParameter", child) or allowed(
                    "ssm:PutParameter", child, **{"ssm:Overwrite": "false"}
                )
                if only and not other:
                    yield Finding(
                        "IAM-OVERWRITE",
                        "error",
                        each.sid,
                        "a parameter may be overwritten and never be made,"
                        " because ssm:Overwrite must be true",
                        "leave the condition out",
                    )


def _keys(documents: Sequence[Document], scope: Scope) -> Iterator[Finding]:
    def allowed(action: str, resource: str) -> bool:
        return evaluate(documents, Request(action, resource, scope.via_ssm)).allowed

    if allowed("ssm:GetParameter", scope.parameter("cluster/name")) and not allowed(
        "kms:Decrypt", scope.key_arn
    ):
        yield Finding(
            "IAM-KMS-READ",
            "error",
            "kms:Decrypt",
            "secrets may be fetched and not decrypted",
            f"allow kms:Decrypt on {scope.key_arn} via ssm.{scope.region}.amazonaws.com",
        )
    writes = any(
        names_action(each, "ssm:PutParameter") and each.allow
        for document in documents
        for each in statements(document)
    )
    lacking = [
        action for action in ("kms:Encrypt", "kms:GenerateDataKey") if not allowed(action, scope.key_arn)
    ]
    if writes and lacking:
        yield Finding(
            "IAM-KMS-WRITE",
            "error",
            "ssm:PutParameter",
            f"no SecureString can be written without {' and '.join(lacking)} (standard and advanced tier)",
            "allow both via SSM",
        )


def _bucket(documents: Sequence[Document], scope: Scope) -> Iterator[Finding]:
    bucket, objects = f"arn:aws:s3:::{scope.bucket}", f"arn:aws:s3:::{scope.bucket}/object"

    def allowed(action: str, resource: str) -> bool:
        return evaluate(documents, Request(action, resource)).allowed

    for action, right, wrong in (("s3:ListBucket", bucket, objects), ("s3:GetObject", objects, bucket)):
        if allowed(action, wrong) and not allowed(action, right):
            yield Finding(
                "IAM-S3-ARN",
                "error",
                action,
                f"{action} is allowed on {wrong.replace('object', '*')}, where it never applies",
                f"allow it on {right.replace('object', '*')}",
            )
    if allowed("s3:PutObject", objects) and not allowed("s3:AbortMultipartUpload", objects):
        yield Finding(
            "IAM-S3-MULTIPART",
            "warning",
            "s3:PutObject",
            "a large upload that breaks off cannot be removed and is paid for",
            "allow s3:AbortMultipartUpload and s3:ListMultipartUploadParts",
        )


def _too_much(documents: Sequence[Document], scope: Scope) -> Iterator[Finding]:
    outside = f"arn:aws:ssm:{scope.region}:{scope.account}:parameter/other/secret"
    for action, resource, what in (
        ("ssm:GetParameter", outside, "parameters outside of its path may be read"),
        ("ssm:PutParameter", outside, "parameters outside of its path may be written"),
        ("ssm:DeleteParameter", scope.parameter("cluster/name"), "parameters may be deleted"),
        ("ssm:PutParameter", scope.parameter("nodes/node1/ipmi_password"), "a BMC's password may be changed"),
        ("s3:ListBucket", "arn:aws:s3:::another-bucket", "other buckets may be listed"),
        (
            "iam:AttachRolePolicy",
            f"arn:aws:iam::{scope.account}:role/another",
            "it may give itself more rights",
        ),
    ):
        decision = evaluate(documents, Request(action, resource, scope.via_ssm))
        if decision.allowed:
            yield Finding(
                "IAM-TOO-MUCH", "error", decision.sid, f"{what} ({action})", "name the resources it needs"
            )
    admin = Request("ssm:GetParameter", scope.parameter("ssh_keys/admin/private_key"), scope.via_ssm)
    if evaluate(documents, admin).allowed:
        yield Finding(
            "IAM-ADMIN-KEY",
            "warning",
            evaluate(documents, admin).sid,
            "every node may read a person's private key",
            "deny ssh_keys/admin/private_key, or do not store it",
        )

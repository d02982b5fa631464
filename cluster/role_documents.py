"""What the cloud holds about the nodes' role: who may take it, what it may do, who may use the key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from cluster.aws import Aws
from cluster.iam_lint import Finding, Scope, lint_key, lint_rights, lint_trust
from cluster.site import Site

MAX_POLICIES = 100  # AWS allows a role fewer than that


@dataclass(frozen=True)
class RoleDocuments:
    """Policy documents as AWS keeps them, and what they are about."""

    trust: Mapping[str, Any]
    rights: tuple[Mapping[str, Any], ...]
    key: Mapping[str, Any]
    scope: Scope


def read(aws: Aws, site: Site) -> RoleDocuments:
    """Reads the role, its inline and attached policies, and the key's policy. Raises as `Aws.told`."""
    iam, role = aws.client("iam"), site.aws.node_role.rsplit("/", 1)[-1]
    with aws.told(f"reading the role {role}"):
        trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
        names = iam.list_role_policies(RoleName=role, MaxItems=MAX_POLICIES)["PolicyNames"]
        rights = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
        attached = iam.list_attached_role_policies(RoleName=role, MaxItems=MAX_POLICIES)["AttachedPolicies"]
        for policy in attached:
            arn = policy["PolicyArn"]
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
            rights.append(found["Document"])
    kms = aws.client("kms")
    with aws.told(f"reading the policy of the key {site.aws.kms_key}"):
        about = kms.describe_key(KeyId=site.aws.kms_key)["KeyMetadata"]
        policy = kms.get_key_policy(KeyId=about["KeyId"], PolicyName="default")["Policy"]
    scope = Scope(
        site.aws.region, aws.identity().account, site.aws.root, site.aws.bucket, str(about.get("Arn", ""))
    )
    return RoleDocuments(_document(trust), tuple(_document(r) for r in rights), _document(policy), scope)


def lint(documents: RoleDocuments, site: Site) -> list[Finding]:
    """Every known mistake in the documents. Pure."""
    return [
        *lint_trust(documents.trust, site.aws.credential_source),
        *lint_rights(documents.rights, documents.scope),
        *lint_key(documents.key),
    ]


def _document(value: Any) -> Mapping[str, Any]:
    """A policy document: botocore decodes some and leaves others as text, which may be URL-encoded."""
    if isinstance(value, Mapping):
        return value
    text = str(value)
    found: Mapping[str, Any] = json.loads(unquote(text) if text.startswith("%7B") else text)
    return found

"""Who is calling: access keys of the account root, of IAM users and of assumed roles."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from moto.iam.models import IAMBackend, ManagedPolicy, iam_backends
from moto.sts.models import AssumedRole, sts_backends

from lab.standins.aws.errors import Refusal
from lab.standins.aws.policy import Document, parse

ACCOUNT = "123456789012"
"""moto's default account; also the one that the AWS documentation uses for examples."""
PARTITION = "aws"


@dataclass(frozen=True)
class RootKey:
    """Access key of the account root. Only the rack's own tools hold it."""

    access_key: str
    secret: str


@dataclass(frozen=True)
class Caller:
    """An authenticated principal with the secret that its requests are signed with."""

    arn: str
    secret: str
    documents: tuple[Document, ...]
    names: frozenset[str]
    """How a resource policy may name it: `AWS:<arn>`."""
    user_name: str = ""
    is_root: bool = False


def iam() -> IAMBackend:
    """moto's IAM of the account."""
    return iam_backends[ACCOUNT][PARTITION]


def caller(access_key: str, token: str, root: RootKey, now: datetime.datetime) -> Caller:
    """The principal that owns `access_key`.

    Raises Refusal when the key is unknown or switched off, or a session's token is wrong or has expired.
    """
    if access_key == root.access_key:
        return Caller(
            f"arn:aws:iam::{ACCOUNT}:root", root.secret, (), frozenset({f"AWS:{ACCOUNT}"}), is_root=True
        )
    found = _user(access_key) or _session(access_key, token, now)
    if found is None:
        raise Refusal("InvalidClientTokenId", "The security token included in the request is invalid.")
    return found


def _default(policy: ManagedPolicy) -> str:
    """Document of the version of a managed policy that is in force."""
    return str(next(v.document for v in policy.versions if v.version_id == policy.default_version_id))


def _user(access_key: str) -> Caller | None:
    user = iam().get_user_from_access_key_id(access_key)
    if user is None:
        return None
    key = next(key for key in user.access_keys if key.access_key_id == access_key)
    if key.status != "Active":
        raise Refusal("InvalidClientTokenId", "The security token included in the request is invalid.")
    texts = [*user.policies.values(), *(_default(policy) for policy in user.managed_policies.values())]
    for group in iam().groups.values():
        if any(member.name == user.name for member in group.users):
            texts += [
                *group.policies.values(),
                *(_default(policy) for policy in group.managed_policies.values()),
            ]
    return Caller(
        arn=user.arn,
        secret=key.secret_access_key,
        documents=tuple(map(parse, texts)),
        names=frozenset({f"AWS:{user.arn}"}),
        user_name=user.name,
    )


def _session(access_key: str, token: str, now: datetime.datetime) -> Caller | None:
    session: AssumedRole | None = sts_backends[ACCOUNT][PARTITION].get_assumed_role_from_access_key(
        access_key
    )
    if session is None:
        return None
    if token != session.session_token:
        raise Refusal("InvalidClientTokenId", "The security token included in the request is invalid.")
    if session.expiration.replace(tzinfo=datetime.UTC) <= now:
        raise Refusal("ExpiredToken", "The security token included in the request is expired")
    role = iam().get_role_by_arn(session.role_arn)
    texts = [*role.policies.values(), *(_default(policy) for policy in role.managed_policies.values())]
    return Caller(
        arn=session.arn,
        secret=session.secret_access_key,
        documents=tuple(map(parse, texts)),
        names=frozenset({f"AWS:{session.arn}", f"AWS:{session.role_arn}"}),
    )

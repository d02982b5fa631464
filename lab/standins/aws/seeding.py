"""Fills the account: identities, key, bucket, secret, parameter tree. All of it goes through the gate."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto.ssm.models import ssm_backends

from lab.standins.aws import accounts, documents
from lab.standins.aws.material import write_private
from lab.standins.aws.permissions import stored
from lab.standins.aws.tree import Parameter

ClientOf = Callable[[str], Any]
KEY_ALIAS = "alias/pve1"
BUCKET = "pve1-backups"
ROLE = "pve1-node-role"
OPERATOR = "operator"
SECRET = "pve1/backup/encryption-key"  # noqa: S105 - the name of a secret, not a secret


@dataclass(frozen=True)
class Order:
    """What the account shall hold. `operator_key` is (access key id, secret)."""

    region: str
    domain: str
    hosts: tuple[str, ...]
    operator_key: tuple[str, str]
    backup_key: str
    parameters: tuple[Parameter, ...]


def account(order: Order, client_of: ClientOf, snapshot: Path) -> None:
    """Make what `order` names in an empty account; parameters come from `snapshot` where it has them."""
    key_arn = _key(client_of("kms"))
    _identities(order, client_of("iam"), key_arn)
    _bucket(order.region, client_of("s3"))
    client_of("secretsmanager").create_secret(
        Name=SECRET, SecretString=json.dumps({"key": order.backup_key}), KmsKeyId=KEY_ALIAS
    )
    _parameters(client_of("ssm"), remembered(order.parameters, snapshot))


def _key(kms: Any) -> str:
    made = kms.create_key(
        Description="pve1 parameters and backups", Policy=json.dumps(documents.key_policy())
    )
    kms.create_alias(AliasName=KEY_ALIAS, TargetKeyId=made["KeyMetadata"]["KeyId"])
    kms.enable_key_rotation(KeyId=made["KeyMetadata"]["KeyId"])
    return str(made["KeyMetadata"]["Arn"])


def _identities(order: Order, iam: Any, key_arn: str) -> None:
    user_arn = iam.create_user(UserName=OPERATOR)["User"]["Arn"]
    trust = documents.node_role_trust(user_arn, order.domain, list(order.hosts), order.region)
    role_arn = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(
        RoleName=ROLE,
        PolicyName="pve1-node-access",
        PolicyDocument=json.dumps(documents.node_role(order.region, BUCKET, key_arn)),
    )
    iam.put_user_policy(
        UserName=OPERATOR,
        PolicyName="pve1-operator",
        PolicyDocument=json.dumps(documents.operator(order.region, BUCKET, key_arn, role_arn)),
    )
    iam.create_access_key(UserName=OPERATOR)
    _pin_access_key(*order.operator_key)


def _pin_access_key(access_key: str, secret: str) -> None:
    """Give the operator the key that stands in its credentials file: a restarted account must know it."""
    backend = accounts.iam()
    key = backend.users[OPERATOR].access_keys[0]
    backend.access_keys.pop(key.access_key_id, None)
    key.access_key_id, key.secret_access_key = access_key, secret
    backend.access_keys[access_key] = key


def _bucket(region: str, s3: Any) -> None:
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": region})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.put_public_access_block(
        Bucket=BUCKET,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    s3.put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )


def _parameters(ssm: Any, wanted: Iterable[Parameter]) -> None:
    for parameter in wanted:
        key = {"KeyId": KEY_ALIAS} if parameter.kind == "SecureString" else {}
        ssm.put_parameter(Name=parameter.name, Type=parameter.kind, Value=parameter.value, **key)


# --- what was written since: kept over a restart of the account ---------------------------------------------


def remembered(seeded: Iterable[Parameter], snapshot: Path) -> list[Parameter]:
    """The parameters of the snapshot, and of `seeded` those that the account never had."""
    if not snapshot.exists():
        return list(seeded)
    kept = json.loads(snapshot.read_text(encoding="utf-8"))
    held = [Parameter(**entry) for entry in kept["parameters"]]
    return held + [parameter for parameter in seeded if parameter.name not in kept["seeded"]]


def remember(seeded: Iterable[Parameter], region: str, snapshot: Path) -> None:
    """Write the newest version of every parameter to `snapshot` (mode 0600)."""
    names = list(ssm_backends[accounts.ACCOUNT][region]._parameters)
    held = [p for name in names if (p := stored(region, name)) is not None]
    entries = [{"name": p.name, "kind": p.parameter_type, "value": p.decrypt(p.value)} for p in held]
    text = json.dumps({"seeded": [p.name for p in seeded], "parameters": entries})
    write_private(snapshot, text.encode())

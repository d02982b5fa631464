"""The policies of the account: the nodes' role, the operator, the customer key. Pure.

The role is the plan's, corrected: Encrypt for writing SecureStrings, no overwrite-only Put, no principal "*",
no misspelt endpoint; and what a node may write excludes the secrets that lie in the same folders.
"""

from __future__ import annotations

from typing import Any

from lab.standins.aws.accounts import ACCOUNT

Policy = dict[str, Any]


def _policy(*statements: Policy) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _parameter(region: str, *paths: str) -> list[str]:
    return [f"arn:aws:ssm:{region}:{ACCOUNT}:parameter{path}" for path in paths]


def _statement(
    sid: str, actions: str, resource: str | list[str], condition: Policy | None = None, effect: str = "Allow"
) -> Policy:
    """`actions`: a service and its operations, `ssm: GetParameter PutParameter`."""
    service, _, operations = actions.partition(": ")
    made: Policy = {
        "Sid": sid,
        "Effect": effect,
        "Action": [f"{service}:{operation}" for operation in operations.split()],
        "Resource": resource,
    }
    return made | ({"Condition": condition} if condition else {})


_READ = "GetParameter GetParameters GetParametersByPath GetParameterHistory"
_STATE_FOLDERS = ("/pve1/cluster/*", "/pve1/nodes/*")
_SECRETS_AMONG_STATE = ("/pve1/nodes/*/ipmi_*", "/pve1/nodes/*/*password*", "/pve1/cluster/*_key")


def node_role(region: str, bucket: str, key_arn: str) -> Policy:
    """What `pve1-node-role` may do."""
    via = [f"{service}.{region}.amazonaws.com" for service in ("ssm", "secretsmanager")]
    through = {"StringEquals": {"kms:ViaService": via}}
    metrics = {"StringEquals": {"cloudwatch:namespace": "PVE1"}}
    secrets = _secrets(region)
    return _policy(
        _statement("Read", f"ssm: {_READ}", _parameter(region, "/pve1", "/pve1/*")),
        _statement("List", "ssm: DescribeParameters", "*"),
        _statement("WriteState", "ssm: PutParameter AddTagsToResource", _parameter(region, *_STATE_FOLDERS)),
        _statement(
            "SecretsAreNotState",
            "ssm: PutParameter DeleteParameter*",
            _parameter(region, *_SECRETS_AMONG_STATE),
            effect="Deny",
        ),
        _statement("Kms", "kms: Decrypt Encrypt GenerateDataKey", key_arn, through),
        _statement("Secrets", "secretsmanager: GetSecretValue DescribeSecret", secrets),
        *_bucket(bucket),
        _statement("Metrics", "cloudwatch: PutMetricData", "*", metrics),
    )


def _secrets(region: str) -> str:
    return f"arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:pve1/*"


def _bucket(bucket: str) -> list[Policy]:
    arn = f"arn:aws:s3:::{bucket}"
    objects = "GetObject PutObject DeleteObject AbortMultipartUpload ListMultipartUploadParts"
    return [
        _statement("Bucket", "s3: ListBucket GetBucketLocation ListBucketMultipartUploads", arn),
        _statement("Objects", f"s3: {objects}", f"{arn}/*"),
    ]


TRUST_ANCHOR = "00000000-0000-4000-8000-000000000001"


def node_role_trust(operator_arn: str, domain: str, hosts: list[str], region: str) -> Policy:
    """Who may become a node: the operator (only in a lab), and nodes by certificate (Roles Anywhere)."""
    anchor = f"arn:aws:rolesanywhere:{region}:{ACCOUNT}:trust-anchor/{TRUST_ANCHOR}"
    names = [f"{host}.{domain}" for host in hosts]
    return _policy(
        {
            "Sid": "LabOperator",
            "Effect": "Allow",
            "Principal": {"AWS": operator_arn},
            "Action": "sts:AssumeRole",
        },
        {
            "Sid": "RolesAnywhere",
            "Effect": "Allow",
            "Principal": {"Service": "rolesanywhere.amazonaws.com"},
            "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
            "Condition": {
                "ArnEquals": {"aws:SourceArn": anchor},
                "StringEquals": {"aws:PrincipalTag/x509Subject/CN": names},
            },
        },
    )


def operator(region: str, bucket: str, key_arn: str, role_arn: str) -> Policy:
    """What the operator of the cluster may do: everything below /pve1, and look at its own surroundings."""
    write = "PutParameter DeleteParameter DeleteParameters AddTagsToResource ListTagsForResource"
    look_at_key = "DescribeKey GetKeyPolicy GetKeyRotationStatus"
    look_at_bucket = (
        "GetBucketVersioning GetBucketPublicAccessBlock GetEncryptionConfiguration ListBucketVersions "
        "GetLifecycleConfiguration GetBucketObjectLockConfiguration GetBucketPolicy"
    )
    look_at_role = "GetRole ListRolePolicies GetRolePolicy ListAttachedRolePolicies"
    policies = f"arn:aws:iam::{ACCOUNT}:policy/pve1-*"
    secrets = _secrets(region)
    return _policy(
        _statement(
            "Parameters",
            f"ssm: {_READ} {write} LabelParameterVersion",
            _parameter(region, "/pve1", "/pve1/", "/pve1/*"),
        ),
        _statement("List", "ssm: DescribeParameters", "*"),
        _statement("Key", f"kms: {look_at_key} Encrypt Decrypt GenerateDataKey", key_arn),
        _statement("KeyNames", "kms: ListAliases", "*"),
        _statement("Secrets", "secretsmanager: GetSecretValue DescribeSecret PutSecretValue", secrets),
        *_bucket(bucket),
        _statement("BucketSettings", f"s3: {look_at_bucket}", f"arn:aws:s3:::{bucket}"),
        _statement("ObjectVersions", "s3: GetObjectVersion DeleteObjectVersion", f"arn:aws:s3:::{bucket}/*"),
        _statement("LookAtRole", f"iam: {look_at_role} ListInstanceProfilesForRole", role_arn),
        _statement("LookAtPolicies", "iam: GetPolicy GetPolicyVersion", policies),
        _statement("ActAsNode", "sts: AssumeRole", role_arn),
    )


def key_policy() -> Policy:
    """Customer key: the account delegates to identity policies; nobody else is named."""
    return _policy(
        {
            "Sid": "AccountDelegates",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
            "Action": "kms:*",
            "Resource": "*",
        },
    )

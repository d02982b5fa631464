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


def node_role(region: str, bucket: str, key_arn: str) -> Policy:
    """What `pve1-node-role` may do."""
    ssm, secrets = f"ssm.{region}.amazonaws.com", f"secretsmanager.{region}.amazonaws.com"
    return _policy(
        {
            "Sid": "Read",
            "Effect": "Allow",
            "Action": [
                "ssm:GetParameter",
                "ssm:GetParameters",
                "ssm:GetParametersByPath",
                "ssm:GetParameterHistory",
            ],
            "Resource": _parameter(region, "/pve1", "/pve1/*"),
        },
        {"Sid": "List", "Effect": "Allow", "Action": "ssm:DescribeParameters", "Resource": "*"},
        {
            "Sid": "WriteState",
            "Effect": "Allow",
            "Action": ["ssm:PutParameter", "ssm:AddTagsToResource"],
            "Resource": _parameter(region, "/pve1/cluster/*", "/pve1/nodes/*"),
        },
        {
            "Sid": "SecretsAreNotState",
            "Effect": "Deny",
            "Action": ["ssm:PutParameter", "ssm:DeleteParameter*"],
            "Resource": _parameter(
                region, "/pve1/nodes/*/ipmi_*", "/pve1/nodes/*/*password*", "/pve1/cluster/*_key"
            ),
        },
        {
            "Sid": "Kms",
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"],
            "Resource": key_arn,
            "Condition": {"StringEquals": {"kms:ViaService": [ssm, secrets]}},
        },
        {
            "Sid": "Secrets",
            "Effect": "Allow",
            "Action": ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"],
            "Resource": f"arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:pve1/*",
        },
        *_bucket(bucket),
        {
            "Sid": "Metrics",
            "Effect": "Allow",
            "Action": "cloudwatch:PutMetricData",
            "Resource": "*",
            "Condition": {"StringEquals": {"cloudwatch:namespace": "PVE1"}},
        },
    )


def _bucket(bucket: str) -> list[Policy]:
    return [
        {
            "Sid": "Bucket",
            "Effect": "Allow",
            "Action": ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
            "Resource": f"arn:aws:s3:::{bucket}",
        },
        {
            "Sid": "Objects",
            "Effect": "Allow",
            "Action": [
                "s3:GetObject",
                "s3:PutObject",
                "s3:DeleteObject",
                "s3:AbortMultipartUpload",
                "s3:ListMultipartUploadParts",
            ],
            "Resource": f"arn:aws:s3:::{bucket}/*",
        },
    ]


def node_role_trust(operator_arn: str, domain: str, hosts: list[str], region: str) -> Policy:
    """Who may become a node: the operator (only in a lab), and nodes by certificate (Roles Anywhere)."""
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
                "ArnEquals": {
                    "aws:SourceArn": f"arn:aws:rolesanywhere:{region}:{ACCOUNT}:trust-anchor/"
                    "00000000-0000-4000-8000-000000000001"
                },
                "StringEquals": {"aws:PrincipalTag/x509Subject/CN": [f"{host}.{domain}" for host in hosts]},
            },
        },
    )


def operator(region: str, bucket: str, key_arn: str, role_arn: str) -> Policy:
    """What the operator of the cluster may do: everything below /pve1, and look at its own surroundings."""
    return _policy(
        {
            "Sid": "Parameters",
            "Effect": "Allow",
            "Action": [
                "ssm:GetParameter",
                "ssm:GetParameters",
                "ssm:GetParametersByPath",
                "ssm:GetParameterHistory",
                "ssm:PutParameter",
                "ssm:DeleteParameter",
                "ssm:DeleteParameters",
                "ssm:AddTagsToResource",
                "ssm:ListTagsForResource",
                "ssm:LabelParameterVersion",
            ],
            "Resource": _parameter(region, "/pve1", "/pve1/", "/pve1/*"),
        },
        {"Sid": "List", "Effect": "Allow", "Action": "ssm:DescribeParameters", "Resource": "*"},
        {
            "Sid": "Key",
            "Effect": "Allow",
            "Action": [
                "kms:DescribeKey",
                "kms:GetKeyPolicy",
                "kms:GetKeyRotationStatus",
                "kms:Encrypt",
                "kms:Decrypt",
                "kms:GenerateDataKey",
            ],
            "Resource": key_arn,
        },
        {"Sid": "KeyNames", "Effect": "Allow", "Action": "kms:ListAliases", "Resource": "*"},
        {
            "Sid": "Secrets",
            "Effect": "Allow",
            "Action": [
                "secretsmanager:GetSecretValue",
                "secretsmanager:DescribeSecret",
                "secretsmanager:PutSecretValue",
            ],
            "Resource": f"arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:pve1/*",
        },
        *_bucket(bucket),
        {
            "Sid": "BucketSettings",
            "Effect": "Allow",
            "Action": [
                "s3:GetBucketVersioning",
                "s3:GetBucketPublicAccessBlock",
                "s3:GetEncryptionConfiguration",
                "s3:GetLifecycleConfiguration",
                "s3:GetBucketObjectLockConfiguration",
                "s3:GetBucketPolicy",
                "s3:ListBucketVersions",
            ],
            "Resource": f"arn:aws:s3:::{bucket}",
        },
        {
            "Sid": "ObjectVersions",
            "Effect": "Allow",
            "Action": ["s3:GetObjectVersion", "s3:DeleteObjectVersion"],
            "Resource": f"arn:aws:s3:::{bucket}/*",
        },
        {
            "Sid": "LookAtRole",
            "Effect": "Allow",
            "Action": [
                "iam:GetRole",
                "iam:ListRolePolicies",
                "iam:GetRolePolicy",
                "iam:ListAttachedRolePolicies",
                "iam:ListInstanceProfilesForRole",
            ],
            "Resource": role_arn,
        },
        {
            "Sid": "LookAtPolicies",
            "Effect": "Allow",
            "Action": ["iam:GetPolicy", "iam:GetPolicyVersion"],
            "Resource": f"arn:aws:iam::{ACCOUNT}:policy/pve1-*",
        },
        {"Sid": "ActAsNode", "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role_arn},
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

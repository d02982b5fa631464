"""AWS: identities and keys that a machine outside EC2 cannot have, or that anybody could.

Sources: AWS documentation of IAM Roles Anywhere (trust model), SSM hybrid activations and KMS aliases.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cluster.contradictions.rule import Found, rule

if TYPE_CHECKING:
    from cluster.site import Site

_PRINCIPAL = {"rolesanywhere": "rolesanywhere.amazonaws.com", "hybrid": "ssm.amazonaws.com"}


@rule("PF-AWS-ID")
def identity(site: Site) -> Iterator[Found]:
    """An instance role on a machine that is no instance (C18)."""
    source = site.aws.credential_source
    if source == "instance-profile":
        yield Found(
            "error",
            "aws.credential_source",
            f"nodes take {site.aws.node_role} by an instance profile",
            "they are no EC2 instances: there is no metadata service, and no credentials are found",
            '"rolesanywhere" (a certificate for each node) or "hybrid" (an SSM activation)',
        )
    elif source in ("profile", "env"):
        yield Found(
            "warning" if site.kind == "acceptance" else "info",
            "aws.credential_source",
            f"nodes take {site.aws.node_role} by a static key ({source})",
            "a key that does not expire lies on every node",
            '"rolesanywhere" or "hybrid" outside a rehearsal',
        )


@rule("PF-AWS-TRUST")
def trust(site: Site) -> Iterator[Found]:
    """A trust policy that lets in everybody, or not the nodes (C19)."""
    principals = site.aws.node_role_trust
    if "*" in principals:
        yield Found(
            "error",
            "aws.node_role_trust",
            f"{site.aws.node_role} trusts the principal *",
            "any AWS account may take the role and read every secret",
            "the one service that vouches for the nodes, with a condition on the account",
        )
    needed = _PRINCIPAL.get(site.aws.credential_source)
    if principals and needed is not None and needed not in principals:
        yield Found(
            "error",
            "aws.node_role_trust",
            f"nodes identify themselves by {site.aws.credential_source}",
            f"the role does not trust {needed}",
            f"add {needed}",
        )
    if "ec2.amazonaws.com" in principals:
        yield Found(
            "warning",
            "aws.node_role_trust",
            f"{site.aws.node_role} trusts ec2.amazonaws.com",
            "no node is an EC2 instance, but any instance of the account could take the role",
            "leave it out",
        )


@rule("PF-AWS-KMS")
def key(site: Site) -> Iterator[Found]:
    """The key that AWS manages instead of one's own."""
    if site.aws.kms_key == "alias/aws/ssm":
        yield Found(
            "warning",
            "aws.kms_key",
            "secrets under alias/aws/ssm",
            "every principal of the account that may read parameters may then decrypt them",
            "a customer managed key whose policy names the roles",
        )

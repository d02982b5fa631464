"""What the nodes' role may and may not do, tried for real; and whether bucket and key serve.

A right is only shown by using it. The forbidden attempts are made on names that nothing else uses, and what
one of them should succeed in creating is removed again with the operator's rights.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.aws import AccessDeniedError, Aws, NotFoundError
from cluster.errors import RackproofError

if TYPE_CHECKING:
    from cluster.cluster import Cluster

READS, OUTSIDE, CHANGES, BUCKET, KEY = "role-reads", "role-outside", "role-changes", "bucket", "key"


@dataclass(frozen=True)
class Attempt:
    """One try. `allowed`: what the order says; `seen`: "allowed", "denied", or the error that was neither."""

    check: str
    what: str
    allowed: bool
    seen: str

    @property
    def as_ordered(self) -> bool:
        """Allowed attempts succeeded, forbidden ones were denied; anything else shows nothing and is no
        pass.
        """
        return self.seen == ("allowed" if self.allowed else "denied")


def _try(check: str, what: str, allowed: bool, call: Callable[[], object]) -> Attempt:
    try:
        call()
        seen = "allowed"
    except AccessDeniedError:
        seen = "denied"
    except RackproofError as error:
        seen = str(error)
    return Attempt(check, what, allowed, seen)


def role_attempts(cluster: Cluster) -> tuple[Attempt, ...]:
    """The nodes' role: reads its tree; reads and writes nothing outside; deletes nothing, changes no
    secret.
    """
    site = cluster.site
    root = site.aws.root
    try:
        role = cluster.aws.as_node_role()
    except RackproofError as error:
        return (Attempt(READS, f"take the role {site.aws.node_role}", True, str(error)),)
    mark = secrets.token_hex(4)
    foreign = f"/rackproof-probe-{mark}/value"
    own = f"{root}/nodes/{site.nodes[0].name}/rackproof_probe_{mark}"
    secret = _secret_name(cluster)
    operator = cluster.aws
    attempts = [
        _try(READS, f"read {root}/cluster/name", True, lambda: role.parameter(f"{root}/cluster/name")),
        _try(OUTSIDE, f"write {foreign}", False, lambda: role.put_parameter(foreign, "probe")),
        _outside(operator, role, foreign),
    ]
    if secret is not None:
        attempts.append(_overwrite(operator, role, secret))
    attempts.append(_delete(operator, role, own))
    role.close()
    _remove(operator, foreign)
    _remove(operator, own)
    return tuple(attempts)


def _outside(operator: Aws, role: Aws, name: str) -> Attempt:
    """Reading outside of the tree: the name exists, so that "not found" cannot pass for "denied"."""
    try:
        operator.put_parameter(name, "probe")
    except RackproofError as error:
        if not isinstance(error, AccessDeniedError):
            return Attempt(OUTSIDE, f"read {name}", False, str(error))
    # An operator who may not write there leaves the name absent; AWS checks the policy before the name.
    return _try(OUTSIDE, f"read {name}", False, lambda: role.parameter(name))


def _overwrite(operator: Aws, role: Aws, name: str) -> Attempt:
    """Changing a secret: it is written with the value that it has, so that success would do no harm."""
    try:
        value = operator.parameter(name).value
    except RackproofError as error:
        return Attempt(CHANGES, f"write {name}", False, str(error))
    return _try(CHANGES, f"write {name}", False, lambda: role.put_parameter(name, value, secret=True))


def _delete(operator: Aws, role: Aws, name: str) -> Attempt:
    try:
        operator.put_parameter(name, "probe")
    except RackproofError as error:
        return Attempt(CHANGES, f"delete {name}", False, f"the operator could not create it: {error}")
    return _try(CHANGES, f"delete {name}", False, lambda: role.delete_parameter(name))


def _secret_name(cluster: Cluster) -> str | None:
    """A secret of the tree that is no node's own."""
    try:
        tree = cluster.secrets.tree()
    except RackproofError:
        return None
    nodes = f"{cluster.site.aws.root}/nodes/"
    return next((n for n in sorted(tree) if tree[n].secret and not n.startswith(nodes)), None)


def _remove(operator: Aws, name: str) -> None:
    with contextlib.suppress(NotFoundError, AccessDeniedError):
        operator.delete_parameter(name)


def bucket_and_key(cluster: Cluster) -> tuple[Attempt, ...]:
    """An object through the bucket and back, a few bytes through the key and back."""
    aws = cluster.aws
    name = f"rackproof-probe-{secrets.token_hex(8)}"
    data = secrets.token_bytes(64)

    def through_bucket() -> None:
        aws.put_object(name, data)
        try:
            if aws.get_object(name) != data:
                raise RackproofError("the object came back changed")
        finally:
            aws.delete_object(name)

    def through_key() -> None:
        if aws.decrypt(aws.encrypt(data)) != data:
            raise RackproofError("the bytes came back changed")

    return (
        _try(BUCKET, f"write, read and remove an object in {cluster.site.aws.bucket}", True, through_bucket),
        _try(KEY, f"encrypt and decrypt with {cluster.site.aws.kms_key}", True, through_key),
    )

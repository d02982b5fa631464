"""Short-lived credentials of the nodes' role, put onto nodes that have no identity of their own.

With `credential_source = "profile"` or "env" the controller takes the role for them, for as long as AWS
allows, and renews what expired at its next run. The other sources are the node's own: there is nothing to
hand over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from cluster.aws import AwsError
from cluster.errors import NotApplicableError, UnreachableError
from provisioners.ansible import play
from provisioners.change import Change, Progress

if TYPE_CHECKING:
    from cluster.cluster import Cluster

_DURATIONS_S = (12 * 3600, 3600)  # the longest that a role may allow, and what every role allows
HANDED_OVER = frozenset({"profile", "env"})


@dataclass(frozen=True)
class Credentials:
    """Action `credentials`."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        source = cluster.site.aws.credential_source
        nodes = list(dict.fromkeys(change.node for change in changes))
        if source not in HANDED_OVER:
            raise NotApplicableError(
                "PF-NODE-IDENTITY",
                f"aws.credential_source = '{source}': {', '.join(nodes)} must bring an identity of their own,"
                " which is enrolled outside of this program.",
                "enrol them (docs/runbooks/phase1-base-install.md), or let the controller take the role"
                " with 'profile'.",
            )
        variables = {name: {"node_credentials": _file(assume(cluster, name))} for name in nodes}
        play(cluster, "common", nodes, {}, progress, tasks_from="credentials", host_variables=variables)

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """Takes the credentials away again; they would expire in any case."""
        nodes = list(dict.fromkeys(change.node for change in changes))
        play(cluster, "common", nodes, {}, progress, tasks_from="no_credentials")


def assume(cluster: Cluster, node: str) -> Mapping[str, Any]:
    """Credentials of the nodes' role in a session that bears the node's name. Raises AwsError."""
    sts = cluster.aws.client("sts")
    role = cluster.aws.table.node_role
    if not role.startswith("arn:"):
        mine = cluster.aws.identity()
        role = f"arn:{mine.arn.split(':')[1] or 'aws'}:iam::{mine.account}:role/{role}"
    for last, seconds in enumerate(_DURATIONS_S, start=1):
        try:
            answer = sts.assume_role(RoleArn=role, RoleSessionName=node, DurationSeconds=seconds)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code == "ValidationError" and last < len(_DURATIONS_S):
                continue  # the role allows less
            raise AwsError(f"taking the role {role} for {node}: {code or error}", code) from None
        except BotoCoreError as error:
            raise UnreachableError(f"taking the role {role} for {node}: {error}") from None
        return dict(answer["Credentials"])
    raise AwsError(f"taking the role {role} for {node}: no duration was accepted")


def _file(given: Mapping[str, Any]) -> str:
    """~/.aws/credentials as every SDK reads it; its first line tells when it ends."""
    until = given["Expiration"]
    end = until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(until, datetime) else str(until)
    return (
        f"# until = {end}\n[default]\naws_access_key_id = {given['AccessKeyId']}\n"
        f"aws_secret_access_key = {given['SecretAccessKey']}\naws_session_token = {given['SessionToken']}\n"
    )

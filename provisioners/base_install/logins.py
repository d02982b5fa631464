"""Who is let in: the authorized keys against the order, and real attempts to enter with a password."""

from __future__ import annotations

import base64
import hashlib
import secrets
import socket
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import paramiko

from cluster.errors import RackproofError, UnknownError
from provisioners.base_install.system import Key

if TYPE_CHECKING:
    from cluster.cluster import Cluster

CONNECT_S = 30.0
ADMIN_BITS = 4096


def fingerprint(public_key: str) -> str:
    """SHA-256 fingerprint of a public key's text, as ssh-keygen prints it. Raises RackproofError."""
    try:
        blob = base64.b64decode(public_key.split()[1], validate=True)
    except (IndexError, ValueError):
        raise RackproofError("an ordered SSH public key is not one: expected 'type base64 comment'") from None
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def ordered_keys(cluster: Cluster) -> dict[str, str]:
    """The two ordered public keys, SHA-256 fingerprint to what each is for."""
    table = cluster.site.ssh
    resolve = cluster.secrets.resolve
    return {
        fingerprint(resolve(table.public_key)): "automation",
        fingerprint(resolve(table.admin_public_key)): "administrators",
    }


def key_findings(keys: Sequence[Key], wanted: dict[str, str]) -> Iterator[str]:
    """What differs between the keys a node admits and the ordered ones. Pure."""
    seen = {key.fingerprint: key for key in keys}
    for print_, role in wanted.items():
        key = seen.get(print_)
        if key is None:
            yield f"the {role} key is not admitted"
        elif role == "automation" and key.kind != "ED25519":
            yield f"the automation key is {key.kind}, expected ED25519"
        elif role == "administrators" and (key.kind, key.bits) != ("RSA", ADMIN_BITS):
            yield f"the administrators' key is {key.kind} {key.bits}, expected RSA {ADMIN_BITS}"
    for print_ in sorted(set(seen) - set(wanted)):
        yield f"a key that was not ordered is admitted: {seen[print_].kind} {print_}"


def password_attempts(cluster: Cluster) -> list[str]:
    """Tries to enter every node with a password, both ways SSH has; what let us even try is a finding.

    The host key is checked first, so that nobody else is asked. Raises UnknownError when an attempt could
    not be made at all.
    """
    answers = cluster.each(lambda name: _attempts(cluster, name))
    findings: list[str] = []
    for name, answer in answers.items():
        if isinstance(answer, RackproofError):
            raise UnknownError(f"{name}: no password could be tried: {answer}")
        findings += [f"{name}: {finding}" for finding in answer]
    return findings


def _attempts(cluster: Cluster, name: str) -> list[str]:
    address = str(cluster.site.node(name).address)
    expected = cluster.secrets.fresh(cluster.host_key_parameter(name)) or ""
    findings = []
    for method in ("password", "keyboard-interactive"):
        try:
            with (
                socket.create_connection((address, 22), CONNECT_S) as wire,
                paramiko.Transport(wire) as transport,
            ):
                transport.banner_timeout = CONNECT_S
                transport.auth_timeout = CONNECT_S
                transport.start_client(timeout=CONNECT_S)
                if transport.get_remote_server_key().get_base64() != expected.split()[1]:
                    raise UnknownError(f"{name}: another host key than the published one")
                findings += _one_attempt(transport, method, cluster.site.ssh.user)
        except (OSError, EOFError, IndexError, paramiko.SSHException) as error:
            raise UnknownError(f"{name} ({address}): {error or type(error).__name__}") from None
    return findings


def _one_attempt(transport: paramiko.Transport, method: str, user: str) -> list[str]:
    guess = secrets.token_urlsafe(24)
    try:
        if method == "password":
            transport.auth_password(user, guess, fallback=False)
        else:
            transport.auth_interactive(user, lambda _title, _text, prompts: [guess for _ in prompts])
    except paramiko.BadAuthenticationType:
        return []
    except paramiko.AuthenticationException:
        return [f"a login by {method} was weighed before it was refused: the method is on"]
    return [f"a login by {method} with a made-up password succeeded"]

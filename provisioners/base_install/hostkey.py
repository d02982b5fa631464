"""A fresh SSH host key for a node: the private half goes onto its medium only, the public half to the
parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


@dataclass(frozen=True)
class HostKey:
    """`private` in OpenSSH's own form, `public` as one line `ssh-ed25519 AAAA...`."""

    private: str = field(repr=False)
    public: str


def generate() -> HostKey:
    """A new ED25519 pair."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode("ascii")
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
    return HostKey(private, public)

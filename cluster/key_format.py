"""Whether a text is the key it is taken for. No message repeats any of the text."""

from __future__ import annotations

import re
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

# crypt(5): yescrypt, gost-yescrypt, scrypt, bcrypt, sha512crypt, sha256crypt
_HASH = re.compile(r"\$(y|gy|7|2[aby]|6|5)\$[^\s:]{20,}")
_OPENSSH = (Encoding.OpenSSH, PublicFormat.OpenSSH)

PublicKind = Literal["any", "ed25519", "rsa4096"]


def public_key_mistake(text: str, kind: PublicKind = "any") -> str | None:
    """What was expected, or None when `text` is an OpenSSH public key of that kind."""
    try:
        key = load_ssh_public_key(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        return "expected an OpenSSH public key, one line such as 'ssh-ed25519 AAAA... name'"
    if kind == "ed25519" and not isinstance(key, Ed25519PublicKey):
        return "expected an ED25519 key"
    if kind == "rsa4096" and not (isinstance(key, RSAPublicKey) and key.key_size >= 4096):
        return "expected an RSA key of 4096 bits"
    return None


def private_key_mistake(text: str, public: str | None = None) -> str | None:
    """What was expected, or None when `text` is an OpenSSH private key and belongs to `public`."""
    try:
        key = load_ssh_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "expected an OpenSSH private key without a passphrase"
    if public is not None and public_key_mistake(public) is None:
        mine = key.public_key().public_bytes(*_OPENSSH)
        if mine.split()[:2] != public.strip().encode().split()[:2]:
            return "expected the private key that belongs to the public key beside it"
    return None


def password_hash_mistake(text: str) -> str | None:
    """What was expected, or None when `text` is a password hash as crypt(5) writes it."""
    if _HASH.fullmatch(text):
        return None
    return "expected a password hash such as '$6$...' or '$y$...', never a password"

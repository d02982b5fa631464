"""Secrets and keys that the rack makes up once and keeps in its state folder (mode 0600 each)."""

from __future__ import annotations

import base64
import os
import secrets
import string
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from lab.paths import State
from lab.processes import run

PASSWORD_LENGTH = 24
_ALPHABET = string.ascii_letters + string.digits


def kept(path: Path, make: bytes | None = None) -> bytes:
    """Content of a private file; written first when it does not exist (a random password by default)."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, make if make is not None else random_password().encode())
    return path.read_bytes()


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, at once and whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as sink:
        sink.write(content)
    temporary.replace(path)


def random_password() -> str:
    """Letters and digits only: it must survive BMC, switch and shell alike."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(PASSWORD_LENGTH))


def cluster_secret(state: State, name: str) -> str:
    """Value of one secret below /pve1 (`weka/password`), made up on first use in its reader's form."""
    path = state.secrets / "ssm" / name.replace("/", "_")
    if not path.exists():
        kept(path, _make(state, name))
    return path.read_text(encoding="utf-8")


def _make(state: State, name: str) -> bytes:
    leaf = name.rpartition("/")[2]
    if name == "cluster/corosync_key":
        return base64.b64encode(secrets.token_bytes(256))  # corosync-keygen writes 256 bytes
    if name == "ceph/mon_secret":
        return _cephx_key()
    if leaf == "root_password":
        return kept(state.secrets / f"root-{name.split('/')[1]}")
    if leaf == "root_password_hash":
        password = kept(state.secrets / f"root-{name.split('/')[1]}").decode()
        return run(["openssl", "passwd", "-6", "-stdin"], stdin=password + "\n").stdout.strip().encode()
    if leaf in ("tenant_id", "client_id", "workspace_id"):
        raw = secrets.token_hex(16)
        return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-a{raw[17:20]}-{raw[20:]}".encode()
    return random_password().encode()


def _cephx_key() -> bytes:
    """Ceph's CryptoKey: type 1 (AES), creation time, length 16, key; base64."""
    header = (1).to_bytes(2, "little") + bytes(8) + (16).to_bytes(2, "little")
    return base64.b64encode(header + secrets.token_bytes(16))


def ssh_key(state: State, name: str, algorithm: str) -> tuple[str, str]:
    """(private, public) OpenSSH key pair `name` in the state folder; `algorithm` is ed25519 or rsa4096."""
    private, public = state.secrets / "ssh" / name, state.secrets / "ssh" / f"{name}.pub"
    if not private.exists() or not public.exists():
        key = (
            ed25519.Ed25519PrivateKey.generate()
            if algorithm == "ed25519"
            else rsa.generate_private_key(65537, 4096)
        )
        encoded = (
            key.public_key()
            .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            .decode()
        )
        private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(public, f"{encoded} {name}@rack\n".encode())
        write_private(
            private,
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            ),
        )
    return private.read_text(encoding="utf-8"), public.read_text(encoding="utf-8").strip()

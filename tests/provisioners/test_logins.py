"""Who is let in, as a pure comparison; the fingerprint is the one that ssh-keygen prints."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cluster.errors import RackproofError
from provisioners.base_install.hostkey import generate
from provisioners.base_install.logins import fingerprint, key_findings
from provisioners.base_install.system import Key

WANTED = {"SHA256:a": "automation", "SHA256:b": "administrators"}
GOOD = (Key("ED25519", 256, "SHA256:a"), Key("RSA", 4096, "SHA256:b"))


def test_the_fingerprint_is_ssh_keygens(tmp_path: Path) -> None:
    public = generate().public
    (tmp_path / "key.pub").write_text(f"{public}\n")
    told = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(tmp_path / "key.pub")],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert fingerprint(public) == told.split()[1]


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 not*base64"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(RackproofError, match="expected 'type base64 comment'"):
        fingerprint(text)


def test_the_two_ordered_keys_are_all_right() -> None:
    assert list(key_findings(GOOD, WANTED)) == []


@pytest.mark.parametrize(
    ("keys", "finding"),
    [
        (GOOD[1:], "the automation key is not admitted"),
        (GOOD[:1], "the administrators key is not admitted"),
        ((Key("RSA", 4096, "SHA256:a"), GOOD[1]), "the automation key is RSA, expected ED25519"),
        ((GOOD[0], Key("RSA", 2048, "SHA256:b")), "the administrators' key is RSA 2048, expected RSA 4096"),
        (
            (*GOOD, Key("ECDSA", 256, "SHA256:c")),
            "a key that was not ordered is admitted: ECDSA SHA256:c",
        ),
    ],
)
def test_each_difference_alone_is_found(keys: tuple[Key, ...], finding: str) -> None:
    assert list(key_findings(keys, WANTED)) == [finding]

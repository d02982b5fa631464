"""Defects of the parameter tree."""

from __future__ import annotations

from typing import Any

from lab.defects import scenarios
from lab.defects.defect import Defect, Memory, Place
from lab.standins import aws
from lab.standins.aws.seeding import KEY_ALIAS

PLAIN = "/pve1/weka/password"
UNREADABLE = "/pve1/backup/s3_secret_key"
MISSING = "/pve1/nodes/node2/vlan6_ip"
FOREIGN_KEY = "alias/aws/ssm"
"""Nobody of this cluster has rights on the account's own key: what it encrypts, they cannot read."""


def _read(ssm: Any, name: str) -> Memory:
    found = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]
    return {"name": name, "kind": found["Type"], "value": found["Value"]}


def _write(ssm: Any, name: str, kind: str, value: str, key: str = KEY_ALIAS) -> None:
    """Anew: Parameter Store changes neither the type nor (in the rack) the key of a parameter that exists."""
    _remove(ssm, name)
    ssm.put_parameter(Name=name, Type=kind, Value=value, **({"KeyId": key} if kind == "SecureString" else {}))


def _remove(ssm: Any, name: str) -> None:
    try:
        ssm.delete_parameter(Name=name)
    except ssm.exceptions.ParameterNotFound:
        return


def _plain(place: Place) -> Memory:
    ssm = aws.root_client(place.rack, place.state, "ssm")
    before = _read(ssm, PLAIN)
    _write(ssm, PLAIN, "String", before["value"])
    return before


def _unreadable(place: Place) -> Memory:
    ssm = aws.root_client(place.rack, place.state, "ssm")
    before = _read(ssm, UNREADABLE)
    _write(ssm, UNREADABLE, "SecureString", before["value"], FOREIGN_KEY)
    return before


def _missing(place: Place) -> Memory:
    ssm = aws.root_client(place.rack, place.state, "ssm")
    before = _read(ssm, MISSING)
    _remove(ssm, MISSING)
    return before


def _restore(place: Place, memory: Memory) -> None:
    if memory:
        ssm = aws.root_client(place.rack, place.state, "ssm")
        _write(ssm, memory["name"], memory["kind"], memory["value"])


DEFECTS = (
    Defect("plain-secret", f"{PLAIN} is stored in the clear", (scenarios.TREE,), _plain, _restore),
    Defect("unreadable-parameter", f"{UNREADABLE} is encrypted with a key that the cluster may not use",
           (scenarios.TREE,), _unreadable, _restore),
    Defect("missing-parameter", f"{MISSING} is missing", (scenarios.TREE,), _missing, _restore),
)  # fmt: skip

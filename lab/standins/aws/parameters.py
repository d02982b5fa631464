"""Parameter Store's own limits and its ciphertext, which moto leaves out.

Limits: Systems Manager user guide, "Parameter name requirements" and "Managing parameter tiers".
"""

from __future__ import annotations

import base64
import json
import os
import re
from typing import Any

from moto.ssm.models import Parameter, ssm_backends

from lab.standins.aws.accounts import ACCOUNT
from lab.standins.aws.calls import Call
from lab.standins.aws.errors import Refusal
from lab.standins.aws.permissions import DEFAULT_KEY, kms, parameter_arn, resolve_key, stored

NAME = re.compile(r"/?[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*")
MAX_LEVELS = 15
MAX_NAME_LENGTH = 1011
STANDARD_BYTES = 4096
ADVANCED_BYTES = 8192
KMS_PLAINTEXT_BYTES = 4096

_ciphertexts: dict[tuple[str, int], str] = {}
"""By ARN and version: Parameter Store encrypts once, so the same version always reads the same."""


def check_put(call: Call) -> None:
    """Refuse a PutParameter that AWS would refuse and moto would not.

    Raises Refusal: name characters, depth, prefix, size of the value, change of type, unknown key.
    """
    name, value = str(call.params.get("Name", "")), str(call.params.get("Value", ""))
    _check_name(name)
    tier = str(call.params.get("Tier") or "Standard")
    size = len(value.encode())
    if size > ADVANCED_BYTES:
        raise Refusal("ValidationException", _too_large("Advanced", ADVANCED_BYTES))
    if size > STANDARD_BYTES and tier == "Standard":
        raise Refusal("ValidationException", _too_large("Standard", STANDARD_BYTES))
    before = stored(call.region, name)
    kind = call.params.get("Type")
    if before is not None and kind and call.params.get("Overwrite") and kind != before.parameter_type:
        raise Refusal(
            "HierarchyTypeMismatchException",
            f"Parameter Store doesn't support changing a parameter from {before.parameter_type} to {kind}.",
        )
    if kind == "SecureString":
        _check_key(call.region, str(call.params.get("KeyId") or DEFAULT_KEY))


def _check_name(name: str) -> None:
    bare = name.partition(":parameter")[2] if name.startswith("arn:") else name
    if bare.lstrip("/").lower().startswith(("aws", "ssm")):
        word = bare.lstrip("/")[:3]
        raise Refusal(
            "ValidationException", f'Parameter name: can\'t be prefixed with "{word}" (case-insensitive).'
        )
    if not NAME.fullmatch(bare):
        raise Refusal(
            "ValidationException",
            "Parameter name must be a fully qualified name; each sub-path can be formed as a mix of letters, "
            "numbers and the following 3 symbols .-_",
        )
    if bare.strip("/").count("/") + 1 > MAX_LEVELS:
        raise Refusal(
            "HierarchyLevelLimitExceededException",
            f"A parameter can have at most {MAX_LEVELS} levels in its hierarchy.",
        )
    if len(bare) > MAX_NAME_LENGTH:
        raise Refusal(
            "ValidationException", f"Parameter name must be at most {MAX_NAME_LENGTH} characters long."
        )


def _too_large(tier: str, limit: int) -> str:
    return (
        f"{tier} tier parameters support a maximum parameter value of {limit} characters. "
        "To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier."
    )


def _check_key(region: str, key_id: str) -> None:
    if resolve_key(region, key_id) is None:
        raise Refusal("InvalidKeyId", f"Invalid keyId {key_id}")


READS = frozenset({"GetParameter", "GetParameters", "GetParametersByPath", "GetParameterHistory"})


def hide_plaintext(call: Call, body: bytes) -> bytes:
    """moto's answer to a read without WithDecryption, SecureString values as real ciphertext."""
    answer = json.loads(body)
    entries = answer.get("Parameters") or ([answer["Parameter"]] if "Parameter" in answer else [])
    for entry in entries:
        if entry.get("Type") == "SecureString":
            entry["Value"] = _ciphertext(call.region, entry)
    return json.dumps(answer).encode()


def _ciphertext(region: str, entry: dict[str, Any]) -> str:
    arn, version = parameter_arn(region, entry["Name"]), int(entry["Version"])
    held = _ciphertexts.get((arn, version))
    if held is None:
        held = _ciphertexts[arn, version] = _encrypt(region, arn, entry["Name"], version)
    return held


def _encrypt(region: str, arn: str, name: str, version: int) -> str:
    """Ciphertext under the parameter's key and Parameter Store's context: kms:Decrypt opens it."""
    parameter = _version(region, name, version)
    plain = (parameter.decrypt(parameter.value) or "").encode() if parameter else b""
    if not plain or len(plain) > KMS_PLAINTEXT_BYTES:
        # The advanced tier wraps a data key; its blob does not open with kms:Decrypt alone.
        return base64.b64encode(os.urandom(len(plain) + 96)).decode()
    key_id = (parameter.keyid if parameter else None) or DEFAULT_KEY
    blob, _ = kms(region).encrypt(key_id, plain, {"PARAMETER_ARN": arn})
    return base64.b64encode(blob).decode()


def _version(region: str, name: str, version: int) -> Parameter | None:
    versions = ssm_backends[ACCOUNT][region]._parameters
    return next((p for p in versions[name] if p.version == version), None) if name in versions else None


def forget(region: str, name: str) -> None:
    """Drop the ciphertexts of a deleted parameter: its successor starts again at version 1."""
    arn = parameter_arn(region, name)
    for key in [key for key in _ciphertexts if key[0] == arn]:
        del _ciphertexts[key]

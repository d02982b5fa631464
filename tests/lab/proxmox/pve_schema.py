"""Checks values against Proxmox VE's official API schema (the dialect of PVE::JSONSchema)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

#: beside the checkout; a checkout alone has no copy of it, and its test is skipped
PATH = Path(__file__).resolve().parents[3].parent / "shared" / "facts" / "proxmox-api.json"

# Return schemas of pve-docs 9.1.3 that are wrong themselves (fixed upstream in 9.1.18)
# -> members that are not checked, named by method, path and place.
DEFECTS = {
    ("GET", "/nodes/{node}/ceph/mon", "[].host"): "declared boolean, holds the node's name",
    ("GET", "/nodes/{node}/disks/list", "[].osdid-list"): "null where no OSD is, and its members are strings",
}


def load() -> dict[str, Any]:
    paths: dict[str, Any] = json.loads(PATH.read_text())["paths"]
    return paths


def problems(schema: Mapping[str, Any], value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """(place, what is wrong). Unknown members are allowed, integers may be strings, booleans are 0 and 1."""
    kind = schema.get("type")
    if kind == "null":
        if value is not None:
            yield place, f"nothing was expected, got {value!r}"
    elif kind == "object":
        yield from _object(schema, value, place)
    elif kind == "array":
        if not isinstance(value, list):
            yield place, f"a list was expected, got {value!r}"
            return
        for item in value:
            yield from problems(schema.get("items", {}), item, f"{place}[]")
    elif kind in ("integer", "number", "boolean", "string"):
        yield from _scalar(schema, kind, value, place)


def _object(schema: Mapping[str, Any], value: Any, place: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield place, f"an object was expected, got {value!r}"
        return
    for name, inner in schema.get("properties", {}).items():
        if name in value:
            yield from problems(inner, value[name], f"{place}.{name}")
        elif not inner.get("optional"):
            yield f"{place}.{name}", "is missing"
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for name in value.keys() - schema.get("properties", {}).keys():
            yield from problems(extra, value[name], f"{place}.{name}")


def _scalar(schema: Mapping[str, Any], kind: str, value: Any, place: str) -> Iterator[tuple[str, str]]:
    text = str(value)
    if value is None or isinstance(value, (dict, list)):
        yield place, f"{kind} was expected, got {value!r}"
        return
    if kind == "boolean" and text not in ("0", "1", "True", "False"):
        yield place, f"boolean was expected, got {value!r}"
    if kind == "integer" and not re.fullmatch(r"-?\d+", text):
        yield place, f"integer was expected, got {value!r}"
    if kind == "number" and not re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text):
        yield place, f"number was expected, got {value!r}"
    if kind == "string" and isinstance(value, bool):
        yield place, f"string was expected, got {value!r}"
    if "enum" in schema and text not in [str(one) for one in schema["enum"]]:
        yield place, f"{value!r} is not one of {schema['enum']}"
    if "pattern" in schema and not re.fullmatch(perl(schema["pattern"]), text):
        yield place, f"{value!r} does not match {schema['pattern']}"
    if "minimum" in schema and float(text) < float(schema["minimum"]):
        yield place, f"{value!r} is below {schema['minimum']}"
    if "maximum" in schema and float(text) > float(schema["maximum"]):
        yield place, f"{value!r} is above {schema['maximum']}"


def perl(pattern: str) -> str:
    """Perl's `(?^:...)` in Python's words."""
    return re.sub(r"\(\?\^\w*:", "(?:", pattern)

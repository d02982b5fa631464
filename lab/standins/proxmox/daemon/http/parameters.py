"""Checks a request's parameters against an endpoint's schema, with the words of PVE::JSONSchema."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from .errors import ParameterError

Schema = Mapping[str, Any]
_TRUE = re.compile(r"1|on|yes|true", re.I)
_FALSE = re.compile(r"0|off|no|false", re.I)
_UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_address(text: str) -> bool:
    return _is_ip(text) or bool(re.fullmatch(rf"{_NAME}(?:\.{_NAME})*", text))


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda text: bool(re.fullmatch(pattern, text))


# format -> (is it one, what PVE says otherwise); a format that is not named here is not checked
FORMATS: dict[str, tuple[Callable[[str], bool], str]] = {
    "pve-node": (_matches(_NAME), "value does not look like a valid node name"),
    "pve-storage-id": (
        _matches(r"(?i)[a-z][a-z0-9\-_.]*[a-z0-9]"),
        "storage ID '{}' contains illegal characters",
    ),
    "pve-configid": (_matches(r"(?i)[a-z][a-z0-9_-]+"), "invalid configuration ID '{}'"),
    "pve-userid": (
        _matches(r"[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+"),
        "value '{}' does not look like a valid user name",
    ),
    "pve-vmid": (_matches(r"[1-9][0-9]{2,8}"), "value does not look like a valid VM ID"),
    "pve-volume-id": (_matches(r"(?i)[a-z][a-z0-9\-_.]*[a-z0-9]:.+"), "unable to parse volume ID '{}'"),
    "dns-name": (_matches(rf"{_NAME}(?:\.{_NAME})*"), "value does not look like a valid DNS name"),
    "mac-addr": (
        _matches(r"(?i)[0-9a-f][02468ace](?::[0-9a-f]{2}){5}"),
        "value does not look like a valid unicast MAC address",
    ),
    "ipv4": (lambda text: _is_ip(text) and ":" not in text, "value does not look like a valid IPv4 address"),
    "pve-ipv4-config": (
        lambda text: text in ("dhcp", "manual") or (_is_cidr(text) and ":" not in text),
        "invalid ipv4 network configuration",
    ),
    "pve-task-status-type": (_matches(r"(?i)ok|error|warning|unknown"), "invalid status '{}'"),
    "ip": (_is_ip, "value does not look like a valid IP address"),
    "address": (_is_address, "value does not look like a valid address: {}"),
    "CIDR": (_is_cidr, "value does not look like a valid CIDR network"),
}  # fmt: skip


def validate(schemas: Mapping[str, Schema], given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with their types; booleans as bool. Raises ParameterError naming each bad one."""
    errors: dict[str, str] = {}
    found: dict[str, Any] = {}
    for name, value in given.items():
        schema = _schema(schemas, name)
        if schema is None:
            errors[name] = _UNKNOWN
            continue
        try:
            found[name] = convert(schema, value)
        except ValueError as error:
            errors[name] = str(error)
    for name, schema in schemas.items():
        if name not in given and not schema.get("optional") and "[n]" not in name:
            errors[name] = "property is missing and it is not optional"
        needed = schema.get("requires")
        if name in given and needed and needed not in given:
            errors[needed] = f"missing property - '{name}' requires this property"
        if name not in given and "default" in schema and schema.get("type") in ("integer", "boolean"):
            found.setdefault(name, convert(schema, schema["default"]))
    if errors:
        raise ParameterError(errors)
    return found


def _schema(schemas: Mapping[str, Schema], name: str) -> Schema | None:
    """The parameter's schema; `link[n]` stands for link0 up to link<count - 1>."""
    if name in schemas:
        return schemas[name]
    match = re.fullmatch(r"(.*?)(0|[1-9]\d*)", name)
    family = schemas.get(f"{match[1]}[n]") if match else None
    return family if family and match and int(match[2]) < int(family.get("count", 8)) else None


def convert(schema: Schema, value: Any) -> Any:
    """One value in its type. Raises ValueError with PVE's words."""
    kind = schema.get("type", "string")
    if kind == "array":
        items = value if isinstance(value, list) else [value]
        return [convert(schema.get("items", {}), item) for item in items]
    if isinstance(value, list):
        value = ",".join(str(item) for item in value)
    if kind == "boolean":
        return _boolean(value)
    if kind in ("integer", "number"):
        return _number(schema, kind, value)
    if isinstance(value, (dict, bool)) or value is None:
        raise ValueError(f"type check ('{kind}') failed - got {type(value).__name__}")
    return _string(schema, str(value))


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if _TRUE.fullmatch(str(value)):
        return True
    if _FALSE.fullmatch(str(value)):
        return False
    raise ValueError(f"type check ('boolean') failed - got '{value}'")


def _number(schema: Schema, kind: str, value: Any) -> int | float:
    try:
        number: int | float = int(str(value)) if kind == "integer" else float(str(value))
    except ValueError:
        raise ValueError(f"type check ('{kind}') failed - got '{value}'") from None
    if "minimum" in schema and number < float(schema["minimum"]):
        raise ValueError(f"value must have a minimum value of {schema['minimum']}")
    if "maximum" in schema and number > float(schema["maximum"]):
        raise ValueError(f"value must have a maximum value of {schema['maximum']}")
    if "enum" in schema:
        _one_of(schema["enum"], str(value))
    return number


def _one_of(choices: list[str] | tuple[str, ...], text: str) -> None:
    if text not in choices:
        raise ValueError(f"value '{text}' does not have a value in the enumeration '{', '.join(choices)}'")


def _string(schema: Schema, text: str) -> str:
    if "minLength" in schema and len(text) < schema["minLength"]:
        raise ValueError(f"value must be at least {schema['minLength']} characters long")
    if "maxLength" in schema and len(text) > schema["maxLength"]:
        raise ValueError(f"value may only be {schema['maxLength']} characters long")
    if "pattern" in schema and not re.fullmatch(schema["pattern"], text):
        raise ValueError("value does not match the regex pattern")
    if "enum" in schema:
        _one_of(schema["enum"], text)
    form = schema.get("format")
    if isinstance(form, Mapping):
        properties(text, form)
    elif form:
        single = form.removesuffix("-list")
        is_one, words = FORMATS.get(single, (None, ""))
        for part in split_list(text) if form.endswith("-list") else [text]:
            if is_one and not is_one(part):
                raise ValueError(f"invalid format - {words.format(part)}")
    return text


def split_list(text: str) -> list[str]:
    """PVE's lists: separated by comma, semicolon, blank or NUL."""
    return [part for part in re.split(r"[,;\s\0]+", text) if part]


def properties(text: str, form: Mapping[str, Schema]) -> dict[str, Any]:
    """A property string (`10.0.0.1,priority=5`) taken apart. Raises ValueError with PVE's words."""
    default = next((name for name, schema in form.items() if schema.get("default_key")), None)
    found: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            if default is None or default in found:
                raise ValueError(
                    f"invalid format - value without key, but schema does not define a default key: {part}"
                )
            name, value = default, part
        if name not in form:
            raise ValueError(f"invalid format - format error\n{name}: {_UNKNOWN}")
        if name in found:
            raise ValueError(f"invalid format - duplicate key in comma-separated list property: {name}")
        try:
            found[name] = convert(form[name], value)
        except ValueError as error:
            raise ValueError(f"invalid format - format error\n{name}: {error}") from None
    for name, schema in form.items():
        if name not in found and not schema.get("optional"):
            raise ValueError(
                f"invalid format - format error\n{name}: property is missing and it is not optional"
            )
    return found


def join_properties(values: Mapping[str, Any], form: Mapping[str, Schema]) -> str:
    """A property string in PVE's order: the default key without its name, what must be given, the others."""
    names = sorted(values, key=lambda n: (not form[n].get("default_key"), bool(form[n].get("optional")), n))
    words = {name: str(int(v)) if isinstance(v := values[name], bool) else str(v) for name in names}
    return ",".join(
        words[name] if form[name].get("default_key") else f"{name}={words[name]}" for name in names
    )

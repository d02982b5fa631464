"""The kinds of value that a site file holds, each read strictly; every refusal says what was expected."""

from __future__ import annotations

import os.path
import re
import zoneinfo
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network, NetmaskValueError
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Strict

from cluster.units import parse_rate, parse_seconds, parse_size

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_CLUSTER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,14}")
_INTERFACE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,9}")
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_SSM_NAME = re.compile(r"(/[A-Za-z0-9_.-]+){1,15}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_MAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@(.{1,253})")
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:([a-z0-9-]+):[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?")
_MODULE = re.compile(r"[A-Za-z0-9_]{1,55}")
_SHARE = re.compile(r"([0-9]+)/([1-9][0-9]*)")


class Model(BaseModel):
    """Base of every table of a site file: immutable, and a key that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _text(value: object, expected: str) -> str:
    if not isinstance(value, str):
        quotes = "; a text stands in quotes" if isinstance(value, (int, float)) else ""
        raise ValueError(f"expected {expected}{quotes}")
    return value


def _matching(pattern: re.Pattern[str], expected: str) -> Any:
    def check(value: object) -> str:
        text = _text(value, expected)
        if pattern.fullmatch(text) is None:
            raise ValueError(f"expected {expected}")
        return text

    return BeforeValidator(check)


def _address(value: object) -> IPv4Address:
    expected = 'expected one IPv4 address such as "10.6.0.1"'
    text = _text(value, expected.removeprefix("expected "))
    if "," in text or len(text.split()) > 1:
        raise ValueError(f"{expected}; write several as a list, one item each")
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise ValueError(expected) from None


def _subnet(value: object) -> IPv4Network:
    expected = 'expected an IPv4 subnet with its prefix length such as "10.6.0.0/24"'
    text = _text(value, expected.removeprefix("expected "))
    address, slash, _ = text.partition("/")
    if not slash:
        raise ValueError(expected)
    try:
        return IPv4Network(text)
    except (AddressValueError, NetmaskValueError):
        raise ValueError(expected) from None
    except ValueError:
        network = IPv4Network(text, strict=False)
        raise ValueError(f'{expected}; {address} is a host in it, the subnet is "{network}"') from None


def _interface(value: object) -> IPv4Interface:
    expected = 'expected an IPv4 address with its prefix length such as "10.1.0.201/24"'
    text = _text(value, expected.removeprefix("expected "))
    if "/" not in text:
        raise ValueError(expected)
    try:
        return IPv4Interface(text)
    except ValueError:  # AddressValueError and NetmaskValueError are among them
        raise ValueError(expected) from None


def _domain(value: object) -> str:
    expected = 'expected a DNS domain in lower case such as "rack.example"'
    text = _text(value, expected.removeprefix("expected "))
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise ValueError(expected)
    return text


def _time_server(value: object) -> str:
    expected = 'one host name or IPv4 address such as "0.pool.ntp.org"'
    text = _text(value, expected)
    if "," in text or len(text.split()) != 1:
        raise ValueError(f"expected {expected}; write several as a list, one item each")
    if all(part.isdigit() for part in text.split(".")):
        return str(_address(text))
    return _domain(text)


def _timezone(value: object) -> str:
    expected = 'a time zone of the IANA database such as "UTC" or "Europe/Berlin"'
    text = _text(value, expected)
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"expected {expected}") from None
    return text


def _mac(value: object) -> str:
    expected = 'expected the MAC address of one port such as "52:54:00:01:00:00"'
    text = _text(value, expected.removeprefix("expected ")).lower()
    if _MAC.fullmatch(text) is None:
        raise ValueError(expected)
    if int(text[:2], 16) & 1:
        raise ValueError(f"{expected}; this one is a group address (first octet is odd)")
    if text == "00:00:00:00:00:00":
        raise ValueError(expected)
    return text


def _serial(value: object) -> str:
    expected = "expected a serial number as it is printed, up to 64 characters without spaces"
    text = _text(value, expected.removeprefix("expected "))
    if not (0 < len(text) <= 64 and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError(expected)
    return text


def _line(value: object) -> str:
    text = _text(value, "a text of one line that is not empty")
    if not text.strip() or not text.isprintable():
        raise ValueError("expected a text of one line that is not empty")
    return text


def _path(value: object) -> Path:
    expected = "expected a path below the repository root, or an absolute path"
    text = _text(value, expected.removeprefix("expected "))
    if not text or not text.isprintable():
        raise ValueError(expected)
    if text.startswith("~"):
        raise ValueError(f"{expected}; '~' is not expanded")
    if not PurePosixPath(text).is_absolute() and os.path.normpath(text).split("/")[0] == "..":
        raise ValueError(f"{expected}; this one leaves the root")
    return Path(text)


def _ssm(value: object) -> str:
    expected = 'expected a reference to a parameter such as "ssm:/pve1/nodes/node1/ipmi_password"'
    text = _text(value, expected.removeprefix("expected "))
    if not text.startswith("ssm:"):
        raise ValueError(f"{expected}; a secret itself never stands in a site file")
    name = text.removeprefix("ssm:").replace("{node}", "node")
    if _SSM_NAME.fullmatch(name) is None:
        raise ValueError(f"{expected}, of letters, digits, '_', '.', '-' and at most 15 levels, or {{node}}")
    return text


def _https(value: object) -> str:
    expected = 'an https URL of a host, such as "https://10.9.0.5:5566"'
    text = _text(value, expected)
    try:
        parts = urlsplit(text)
        good = parts.scheme == "https" and bool(parts.hostname) and (parts.port or 443) > 0
    except ValueError:
        good = False
    if not good or parts.username or parts.query or parts.fragment:
        raise ValueError(f"expected {expected}")
    return text


def _mail(value: object) -> str:
    expected = 'a mail address such as "ops@rack.example"'
    text = _text(value, expected)
    found = _MAIL.fullmatch(text)
    if found is None or not all(_LABEL.fullmatch(label) for label in found.group(1).lower().split(".")):
        raise ValueError(f"expected {expected}")
    return text


def _receiver(value: object) -> str:
    """`webhook:`, `mail:` or `sns:` and where; what stands behind it is read as strictly as anywhere."""
    expected = (
        'expected "webhook:https://...", "webhook:ssm:/...", "mail:ops@rack.example" or "sns:arn:aws:sns:..."'
    )
    text = _text(value, expected.removeprefix("expected "))
    way, _, where = text.partition(":")
    if way == "webhook":
        _ssm(where) if where.startswith("ssm:") else _https(where)
        if "{" in where:
            raise ValueError(f"{expected}; there is one webhook, not one for each {{node}}")
    elif way == "mail":
        _mail(where)
    elif way != "sns" or _TOPIC.fullmatch(where) is None:
        raise ValueError(expected)
    return text


def topic_region(topic: str) -> str:
    """The AWS region in the ARN of an SNS topic that was read here."""
    found = _TOPIC.fullmatch(topic)
    return found.group(1) if found else ""


def _share(value: object) -> str:
    expected = 'expected a share written as a fraction such as "2/3"'
    found = _SHARE.fullmatch(_text(value, expected.removeprefix("expected ")))
    if found is None or int(found.group(1)) > int(found.group(2)):
        raise ValueError(expected)
    return found.group(0)


Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Boolean = Annotated[bool, Strict()]
Size = Annotated[int, BeforeValidator(parse_size)]
Rate = Annotated[float, BeforeValidator(parse_rate)]
Seconds = Annotated[float, BeforeValidator(parse_seconds)]
Address = Annotated[IPv4Address, BeforeValidator(_address)]
Subnet = Annotated[IPv4Network, BeforeValidator(_subnet)]
InterfaceAddress = Annotated[IPv4Interface, BeforeValidator(_interface)]
Line = Annotated[str, BeforeValidator(_line)]
Domain = Annotated[str, BeforeValidator(_domain)]
TimeServer = Annotated[str, BeforeValidator(_time_server)]
TimeZone = Annotated[str, BeforeValidator(_timezone)]
Mac = Annotated[str, BeforeValidator(_mac)]
Serial = Annotated[str, BeforeValidator(_serial)]
SitePath = Annotated[Path, BeforeValidator(_path)]
SsmReference = Annotated[str, BeforeValidator(_ssm)]
HttpsUrl = Annotated[str, BeforeValidator(_https)]
MailAddress = Annotated[str, BeforeValidator(_mail)]
Receiver = Annotated[str, BeforeValidator(_receiver)]
Share = Annotated[str, BeforeValidator(_share)]
Label = Annotated[str, _matching(_LABEL, 'a host name label in lower case such as "node1"')]
ClusterName = Annotated[
    str,
    _matching(_CLUSTER, "a cluster name of up to 15 letters, digits and hyphens that starts with a letter"),
]
Interface = Annotated[
    str,
    _matching(
        _INTERFACE, 'an interface name of up to 10 letters and digits such as "bond0" (VLAN ids are appended)'
    ),
]
ModuleName = Annotated[
    str, _matching(_MODULE, 'a kernel module as lsmod names it, such as "ipmi_watchdog" (no hyphen)')
]
SsmPath = Annotated[str, _matching(_SSM_NAME, 'a path of parameters such as "/pve1"')]
Region = Annotated[str, _matching(_REGION, 'an AWS region such as "us-west-2"')]
Bucket = Annotated[
    str, _matching(_BUCKET, "a bucket name of 3 to 63 lower-case letters, digits, dots and hyphens")
]

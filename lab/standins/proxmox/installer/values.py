"""Checks of single values of the answer file. Rules: pve-installer's answer types and its checks."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from .errors import InstallError

KEYBOARDS = {
    "de": "de",
    "de-ch": "ch",
    "dk": "dk",
    "en-gb": "gb",
    "en-us": "us",
    "es": "es",
    "fi": "fi",
    "fr": "fr",
    "fr-be": "be",
    "fr-ca": "ca",
    "fr-ch": "ch",
    "hu": "hu",
    "is": "is",
    "it": "it",
    "jp": "jp",
    "lt": "lt",
    "mk": "mk",
    "nl": "nl",
    "no": "no",
    "pl": "pl",
    "pt": "pt",
    "pt-br": "br",
    "se": "se",
    "si": "si",
    "tr": "tr",
}
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
PINNED = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,14}")
CRYPT = re.compile(r"\$[0-9a-z]+\$.+")
ZONES = Path("/usr/share/zoneinfo")


def fqdn(where: str, text: str) -> tuple[str, str]:
    """(host, domain) of a fully qualified name; a bare host name is refused."""
    labels = text.split(".")
    if len(text) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise InstallError(
            f"{where} is {text!r}, expected letters, digits and dashes in labels joined by dots"
        )
    if labels[0].isdigit():
        raise InstallError(f"{where} is {text!r}, a purely numeric host name is not allowed")
    if len(labels) < 2:
        raise InstallError(f"{where} is {text!r}, expected a host name and a domain, as in node1.example.org")
    return labels[0], ".".join(labels[1:])


def mail(where: str, text: str) -> str:
    if not MAIL.fullmatch(text):
        raise InstallError(f"{where} is {text!r}, expected an e-mail address")
    return text


def country(where: str, text: str) -> str:
    if not re.fullmatch(r"[a-z]{2}", text):
        raise InstallError(f"{where} is {text!r}, expected a country code of two lower-case letters")
    return text


def timezone(where: str, text: str, zones: Path = ZONES) -> str:
    if text != "UTC" and (".." in text or not (zones / text).is_file()):
        raise InstallError(f"{where} is {text!r}, expected UTC or a zone such as Europe/Berlin")
    return text


def crypted(where: str, text: str) -> str:
    """A crypt(5) hash. The value itself never enters a message."""
    if not CRYPT.fullmatch(text):
        raise InstallError(f"{where} is not a password hash of the form $id$salt$hash")
    return text


def cidr(where: str, text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    try:
        if "/" not in text:
            raise ValueError(text)
        return ipaddress.ip_interface(text)
    except ValueError as error:
        raise InstallError(
            f"{where} is {text!r}, expected an address with its prefix, as in 10.0.0.2/24"
        ) from error


def address(where: str, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise InstallError(f"{where} is {text!r}, expected one IP address") from error


def pinning(where: str, mapping: dict[str, str]) -> dict[str, str]:
    """MAC -> name, MACs in lower case; names are checked as systemd and ifupdown2 need them."""
    result: dict[str, str] = {}
    for mac, name in mapping.items():
        if not MAC.fullmatch(mac.lower()):
            raise InstallError(f"{where} names {mac!r}, expected a MAC address as in 52:54:00:01:00:00")
        if not PINNED.fullmatch(name):
            raise InstallError(
                f"{where}.{mac} is {name!r}, expected 2 to 15 letters, digits or underscores, a letter first"
            )
        if name in result.values():
            raise InstallError(f"{where} gives the name {name!r} to two ports")
        result[mac.lower()] = name
    return result

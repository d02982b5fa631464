"""The spellings in which a secret can turn up: as it is, quoted, escaped, or encoded by a protocol."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

SHORT = 6
"""Shorter values are replaced only as whole words: `abc` would turn every other sentence into holes."""
MIN_LINE = 8
"""Lines of a multi-line value (a private key) are secrets of their own from this length on."""
WRAPPED_FROM = 40
"""From this length on, base64 text may have been broken into lines (64 or 76 characters)."""
WRAPPED_UP_TO = 20_000


def spellings(value: str) -> set[str]:
    """Every text that stands for `value`. Parts of private keys are included line by line."""
    found = set[str]()
    for part in _parts(value):
        found.update(_escaped(part))
        if len(part) >= SHORT:
            found.update(_base64(part))
            raw = part.encode()
            found.update({raw.hex(), raw.hex().upper()})
    return {spelling for spelling in found if spelling.strip()}


def wrapped(value: str) -> Iterator[str]:
    """Regular expressions for the base64 of a long value, wherever line breaks were put into it."""
    for part in {value, value.strip()}:
        for code in _base64(part):
            if WRAPPED_FROM <= len(code) <= WRAPPED_UP_TO:
                yield r"(?:\\n|\s)*".join(re.escape(character) for character in code)


def _parts(value: str) -> set[str]:
    parts = {value, value.strip()}
    if "\n" in value.strip():
        lines = (line.strip() for line in value.splitlines())
        parts.update(line for line in lines if len(line) >= MIN_LINE and not line.startswith("-----"))
    return parts


def _escaped(value: str) -> set[str]:
    as_json = json.dumps(value)[1:-1]
    found = {
        value,
        as_json,
        as_json.replace("/", "\\/"),
        json.dumps(as_json)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        repr(value.encode())[2:-1],
        ascii(value)[1:-1],
        html.escape(value),
        html.escape(value, quote=False),
        html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
        html.escape(json.dumps(value)[1:-1]),
        value.replace("\\", "\\\\"),
        value.replace("'", "\\'"),
        value.replace('"', '\\"'),
        value.replace("\n", "\r\n"),
        value.replace("\n", " "),
    }
    quoted = shlex.quote(value)
    found.add(quoted[1:-1] if quoted.startswith("'") else quoted)
    found.add(re.sub(r"([^\w@%+=:,./-])", r"\\\1", value))
    for percent in (quote(value), quote(value, safe=""), quote_plus(value)):
        found.add(percent)
        found.add(re.sub(r"%[0-9A-F]{2}", lambda code: code.group().lower(), percent))
        found.add(quote(percent, safe=""))
    return found


def _base64(value: str) -> set[str]:
    """Base64 of the value, and of any text that holds it: three ways to fall on groups of three bytes."""
    raw = value.encode()
    found = set[str]()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        found.add(encode(raw).decode())
        found.add(encode(raw).decode().rstrip("="))
        for shift in range(3):
            # Characters that also carry bits of the neighbours are left out at both ends.
            start = (0, 2, 3)[shift]
            whole = (shift + len(raw)) * 8 // 6
            core = encode(b"\0" * shift + raw + b"\0" * 3).decode()[start:whole]
            if len(core) >= SHORT:
                found.add(core)
    return found

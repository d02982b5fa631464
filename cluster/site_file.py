"""A site file as data: read, decoded, parsed, and laid over the file that it extends.

    extends = "lab.toml"        # in the same folder

Tables are merged key by key; a value or a list of the extending file takes the place of the other one.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.errors import SiteError

EXTENDS = "extends"


def read(path: Path) -> dict[str, Any]:
    """What a site file says, with what it extends. Raises SiteError."""
    data = _parsed(path)
    if EXTENDS not in data:
        return data
    name, file = data.pop(EXTENDS), named(path)
    if not isinstance(name, str) or Path(name).name != name or not name:
        raise SiteError(f"{file}: {EXTENDS}: {name!r}; expected the name of a file in the same folder")
    below = _parsed(path.with_name(name))
    if EXTENDS in below:
        raise SiteError(f"{file}: {EXTENDS}: {name} extends a file itself; expected one that stands alone")
    return _over(below, data)


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`: tables merged, all else replaced."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _parsed(path: Path) -> dict[str, Any]:
    file = named(path)
    text = _read(path, file)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SiteError(f"{file}: {_toml_mistake(str(error), text)}; expected TOML") from None


def named(path: Path) -> str:
    """The path as messages show it: relative to the working directory where that is shorter."""
    try:
        relative = os.path.relpath(path)
    except ValueError:
        return str(path)
    return relative if not relative.startswith("..") else str(path)


def _read(path: Path, file: str) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        near = sorted(named(other) for other in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        raise SiteError(
            f"{file}: there is no such file; expected a site file{': ' if near else ''}{', '.join(near)}"
        ) from None
    except IsADirectoryError:
        raise SiteError(
            f"{file}: is a folder; expected a site file such as {file.rstrip('/')}/lab.toml"
        ) from None
    except OSError as error:
        raise SiteError(f"{file}: cannot be read ({error.strerror}); expected a readable file") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SiteError(
            f"{file}: line {line}: byte 0x{data[error.start]:02x} is not UTF-8; expected a TOML file in UTF-8"
        ) from None


def _toml_mistake(message: str, text: str) -> str:
    """The parser's message with its line first, in words that tell what to do."""
    found = re.search(r"^(.*?) \(at (?:line (\d+), column \d+|end of document)\)$", message)
    reason = found.group(1) if found else message
    line = int(found.group(2)) if found and found.group(2) else text.count("\n") + 1
    twice = re.search(r"Cannot declare \((.*)\) twice", reason)
    if twice:
        names = ".".join(re.findall(r"'([^']*)'", twice.group(1)))
        reason = f"the table [{names}] is there twice"
    reason = reason.replace("Cannot overwrite a value", "this key is there twice")
    reason = reason.replace(r"Illegal character '\n'", "a text does not end on its line, a quote is missing")
    return f"line {line}: {reason[:1].lower()}{reason[1:]}"

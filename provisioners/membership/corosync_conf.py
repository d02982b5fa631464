"""corosync.conf as a value: read, compared with the order, changed, and written as Proxmox VE writes it.

Format: corosync.conf(5); Proxmox VE sorts keys and sections, indents by two blanks and leaves a blank line
after each section (pve-cluster, Corosync.pm write_conf). A node's links are its keys `ring0_addr` ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cluster.errors import RackproofError

TOKEN_S = 3.0  # corosync.conf(5): token, where none is given
COEFFICIENT_S = 0.65  # token_coefficient, where none is given; Proxmox VE writes 125 ms
_RING = re.compile(r"ring(\d)_addr")


class CorosyncConfError(RackproofError):
    """The text is no corosync.conf."""


@dataclass
class Section:
    """One section: its keys, and the sections in it by name, in their order."""

    keys: dict[str, str] = field(default_factory=dict)
    sections: list[tuple[str, Section]] = field(default_factory=list)

    def all(self, name: str) -> list[Section]:
        """Every section of that name."""
        return [section for known, section in self.sections if known == name]

    def one(self, name: str) -> Section:
        """The first section of that name; it is made where there is none."""
        found = self.all(name)
        if not found:
            found = [Section()]
            self.sections.append((name, found[0]))
        return found[0]

    def drop(self, section: Section) -> None:
        """Takes a section out."""
        self.sections = [(name, known) for name, known in self.sections if known is not section]


@dataclass(frozen=True)
class Entry:
    """One node of the list. `addresses` by number of the link."""

    name: str
    nodeid: int
    votes: int
    addresses: Mapping[int, str]


@dataclass(frozen=True)
class Configuration:
    """What a corosync.conf says. Times in seconds; `priorities` by link, 1 where none is given (as knet).

    `quorum` are the settings of votequorum that Proxmox VE never writes, such as two_node.
    """

    cluster: str
    version: int
    entries: tuple[Entry, ...]
    priorities: Mapping[int, int]
    token: float
    coefficient: float
    transport: str
    encrypted: bool
    quorum: Mapping[str, str]
    text: str

    def entry(self, name: str) -> Entry | None:
        """The node of that name."""
        return next((entry for entry in self.entries if entry.name == name), None)

    @property
    def links(self) -> tuple[int, ...]:
        """Numbers of the links that any node has."""
        return tuple(sorted({link for entry in self.entries for link in entry.addresses}))


def parse(text: str) -> Section:
    """The sections of a text. Raises CorosyncConfError for an unbalanced or a senseless line."""
    root = Section()
    stack = [root]
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.endswith("{"):
            inner = Section()
            stack[-1].sections.append((line[:-1].strip(), inner))
            stack.append(inner)
        elif line == "}" and len(stack) > 1:
            stack.pop()
        elif ":" in line:
            key, _, value = line.partition(":")
            stack[-1].keys[key.strip()] = value.strip()
        else:
            raise CorosyncConfError(f"line {number}: expected 'key: value', found '{line[:40]}'")
    if len(stack) != 1:
        raise CorosyncConfError("expected as many closing as opening braces")
    return root


def render(section: Section) -> str:
    """The text, as Proxmox VE writes it."""
    return "".join(f"{name} {{\n{_body(inner, 1)}}}\n\n" for name, inner in _sorted(section))


def read(text: str) -> Configuration | None:
    """The configuration that a text holds; None where there is none. Raises CorosyncConfError."""
    if not text.strip():
        return None
    root = parse(text)
    totem, quorum = root.one("totem"), root.one("quorum")
    entries = tuple(_entry(node) for part in root.all("nodelist") for node in part.all("node"))
    priorities = {link: 1 for entry in entries for link in entry.addresses}
    for interface in totem.all("interface"):
        link = _number(interface, "linknumber", 0)
        priorities[link] = max(1, _number(interface, "knet_link_priority", 1))
    cipher = totem.keys.get("crypto_cipher", "")
    secured = totem.keys.get("secauth", "on") == "on"
    return Configuration(
        cluster=totem.keys.get("cluster_name", ""),
        version=_number(totem, "config_version", 0),
        entries=entries,
        priorities=priorities,
        token=_number(totem, "token", round(TOKEN_S * 1000)) / 1000,
        coefficient=_number(totem, "token_coefficient", round(COEFFICIENT_S * 1000)) / 1000,
        transport=totem.keys.get("transport", "knet"),
        encrypted=cipher != "none" if cipher else secured,
        quorum={key: value for key, value in quorum.keys.items() if key not in {"provider", "device"}},
        text=text,
    )


def _entry(node: Section) -> Entry:
    addresses = {int(found[1]): value for key, value in node.keys.items() if (found := _RING.fullmatch(key))}
    name = node.keys.get("name") or addresses.get(0, "")
    return Entry(name, _number(node, "nodeid", 0), _number(node, "quorum_votes", 1), addresses)


def _number(section: Section, key: str, default: int) -> int:
    text = section.keys.get(key, "")
    if not text:
        return default
    if not text.isdigit():
        raise CorosyncConfError(f"{key} = {text[:40]}: expected a number")
    return int(text)


def _sorted(section: Section) -> list[tuple[str, Section]]:
    """Sections by name; nodes and links among themselves by their number."""

    def rank(pair: tuple[str, Section]) -> tuple[str, int]:
        name, inner = pair
        number = inner.keys.get({"node": "nodeid", "interface": "linknumber"}.get(name, ""), "0")
        return name, int(number) if number.isdigit() else 0

    return sorted(section.sections, key=rank)


def _body(section: Section, depth: int) -> str:
    return "".join(_lines(section, "  " * depth, depth))


def _lines(section: Section, indent: str, depth: int) -> Iterator[str]:
    parts: list[tuple[str, str]] = [
        (key, f"{indent}{key}: {value}\n") for key, value in sorted(section.keys.items())
    ]
    parts += [
        (name, f"{indent}{name} {{\n{_body(inner, depth + 1)}{indent}}}\n")
        for name, inner in _sorted(section)
    ]
    yield from (text for _, text in sorted(parts, key=lambda part: part[0]))

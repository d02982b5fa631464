"""Section files such as storage.cfg and domains.cfg (PVE::SectionConfig)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Section:
    """`type: id` and what stands below it; a value is None where only the key stands (a flag)."""

    kind: str
    id: str
    values: dict[str, str] = field(default_factory=dict)


def parse(text: str) -> list[Section]:
    """Lines that are not understood are left out, as PVE does (it warns)."""
    found: list[Section] = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if head := re.fullmatch(r"([a-z0-9-]+):\s*(\S+)\s*", line):
            found.append(Section(head[1], head[2]))
        elif (pair := re.fullmatch(r"\s+(\S+)(?:\s+(.*?))?\s*", line)) and found:
            found[-1].values[pair[1]] = pair[2] if pair[2] is not None else "1"
    return found


def render(sections: Iterable[Section], required: Iterable[str] = ()) -> str:
    """The file's text: comment, disable, required keys, the others; each group sorted."""
    first = {"comment": 0, "disable": 1}
    must = set(required)
    texts = []
    for section in sections:
        keys = sorted(section.values, key=lambda key: (first.get(key, 2 if key in must else 3), key))
        lines = "".join(
            f"\t{key}\n" if key == "disable" else f"\t{key} {section.values[key]}\n" for key in keys
        )
        texts.append(f"{section.kind}: {section.id}\n{lines}")
    return "\n".join(texts) + ("\n" if texts else "")

"""A guest's configuration file: `key: value` lines, what waits for the next start, a description as comment.

Format: PVE::LXC::Config and PVE::QemuServer (parse and write): description lines first, each behind `#` and
percent-encoded (read back with a newline at the end of each), then the keys sorted, then a section with the
pending changes, `[pve:pending]` of a container and `[PENDING]` of a virtual machine, in which `delete: a,b`
names the keys that go. Other sections are snapshots, which the rack does not make; they are kept as they are.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

_PENDING = {"lxc": "[pve:pending]", "qemu": "[PENDING]"}
_LINE = re.compile(r"([a-z][a-z0-9_-]*)\s*:\s*(.*?)\s*")
# What PVE::Tools::encode_text leaves as it is: printable ASCII without % and the colon.
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "").replace(":", "")


@dataclass
class Config:
    """`values` hold what is in force, `pending` what the next start sets, `deleted` what it takes away."""

    values: dict[str, str] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    snapshots: str = ""

    def __getitem__(self, key: str) -> str:
        return self.values[key]

    def get(self, key: str, default: str = "") -> str:
        return self.values.get(key, default)

    @property
    def ahead(self) -> dict[str, str]:
        """The values as they will be after the next start."""
        kept = {key: value for key, value in self.values.items() if key not in self.deleted}
        return {**kept, **self.pending}

    def apply_pending(self) -> None:
        self.values, self.pending, self.deleted = self.ahead, {}, ()


def parse(text: str, kind: str) -> Config:
    """Lines that are not understood are left out, as PVE does. `kind` is `lxc` or `qemu`."""
    found = Config()
    described: list[str] = []
    here: dict[str, str] | None = found.values
    kept: list[str] = []
    for line in text.split("\n"):
        if line.startswith("["):
            here = found.pending if line.strip() == _PENDING[kind] else None
        elif line.startswith("#") and here is found.values:
            described.append(unquote(line[1:]))
            continue
        elif here is not None and (match := _LINE.fullmatch(line)):
            here[match[1]] = match[2]
        if here is None:
            kept.append(line)
    if described:
        found.values["description"] = "".join(f"{line}\n" for line in described)
    found.deleted = tuple(word for word in found.pending.pop("delete", "").split(",") if word)
    found.snapshots = "\n".join(kept).strip()
    return found


def render(config: Config, kind: str) -> str:
    """The file's text."""
    described = config.get("description").removesuffix("\n")
    lines = [f"#{quote(line, safe=_PLAIN)}" for line in described.split("\n")] if described else []
    lines += _pairs({key: value for key, value in config.values.items() if key != "description"})
    if config.pending or config.deleted:
        gone = {"delete": ",".join(sorted(config.deleted))} if config.deleted else {}
        lines += ["", _PENDING[kind], *_pairs({**config.pending, **gone})]
    if config.snapshots:
        lines += ["", config.snapshots]
    return "\n".join(lines) + "\n" if lines else ""


def _pairs(values: dict[str, str]) -> list[str]:
    return [f"{key}: {values[key]}" for key in sorted(values)]


def digest(text: str) -> str:
    """SHA-1 of the file's text, by which a client sees that somebody else changed it."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

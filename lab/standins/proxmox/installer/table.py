"""One table of a TOML file, read key by key; what is left over at the end is an unknown key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import InstallError


class Table:
    """A TOML table at `path` (as `disk-setup.btrfs`, empty for the top). Reading a key ticks it off.

    Keys are kebab-case; snake_case is accepted too, as the official installer does.
    Every method raises InstallError naming file, key, value and what was expected.
    """

    def __init__(self, file: str, path: str, content: Mapping[str, Any]) -> None:
        self.file = file
        self.path = path
        self._known: list[str] = []
        self._content = {key.replace("_", "-"): value for key, value in content.items()}
        if len(self._content) != len(content):
            raise InstallError(f"{file}: [{path}] names one key twice, with a dash and with an underscore")

    def where(self, key: str) -> str:
        return f"{self.file}: {self.path}.{key}" if self.path else f"{self.file}: {key}"

    def has(self, key: str) -> bool:
        self._known.append(key)
        return key in self._content

    def value(self, key: str, kind: Any, article: str) -> Any:
        if not self.has(key):
            raise InstallError(f"{self.where(key)} is missing, expected {article}")
        value = self._content[key]
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise InstallError(f"{self.where(key)} is {value!r}, expected {article}")
        return value

    def text(self, key: str) -> str:
        return str(self.value(key, str, "a string"))

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if self.has(key) else None

    def flag(self, key: str, default: bool) -> bool:
        return bool(self.value(key, bool, "true or false")) if self.has(key) else default

    def choice(self, key: str, options: Sequence[str], default: str | None = None) -> str:
        if default is not None and not self.has(key):
            return default
        value = self.text(key)
        if value not in options:
            raise InstallError(f"{self.where(key)} is {value!r}, expected one of {', '.join(options)}")
        return value

    def texts(self, key: str) -> list[str]:
        """A list of strings; an absent key is an empty list."""
        if not self.has(key):
            return []
        values = self.value(key, list, "a list of strings")
        if not all(isinstance(value, str) for value in values):
            raise InstallError(f"{self.where(key)} is {values!r}, expected a list of strings")
        return list(values)

    def mapping(self, key: str) -> dict[str, str]:
        """A table from string to string with free keys; an absent one is empty."""
        if not self.has(key):
            return {}
        values = self.value(key, dict, "a table of strings")
        for name, value in values.items():
            if not isinstance(value, str):
                raise InstallError(f"{self.where(key)}.{name} is {value!r}, expected a string")
        return dict(values)

    def table(self, key: str) -> Table:
        content = self.value(key, dict, "a table")
        return Table(self.file, f"{self.path}.{key}" if self.path else key, content)

    def optional_table(self, key: str) -> Table | None:
        return self.table(key) if self.has(key) else None

    def end(self) -> None:
        """Refuse what no one asked for."""
        for key in self._content:
            if key not in self._known:
                near = difflib.get_close_matches(key, self._known, 1)
                hint = (
                    f"; did you mean {near[0]!r}?"
                    if near
                    else f", expected {', '.join(sorted(set(self._known)))}"
                )
                raise InstallError(f"{self.where(key)} is not a known key{hint}")

"""A terminal as a switch has it: each key is echoed and each line answered in the order in which they come.

(A line editor that echoes ahead of the answers would run prompts together, which confuses programs.) Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

ERASE, CONTROL_C, CONTROL_Z = "\b\x7f", "\x03", "\x1a"
LINE_MAX = 4096
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[@-~]|[@-Z\\^_])")


class Terminal:
    """Turns keys into what is printed; `answer` executes a line, `prompt` is asked for after each."""

    def __init__(self, answer: Callable[[str], str], prompt: Callable[[], str]) -> None:
        self._answer, self._prompt = answer, prompt
        self._line = ""
        self._after_return = False

    def open(self) -> str:
        """What a fresh session shows."""
        return f"\r\n{self._prompt()}"

    def feed(self, keys: str) -> Iterator[str]:
        """What is printed while `keys` are typed, piece by piece."""
        for key in _ESCAPES.sub("", keys):
            newline_of_return = key == "\n" and self._after_return
            self._after_return = key == "\r"
            if not newline_of_return:
                yield self._key(key)

    def _key(self, key: str) -> str:
        if key in "\r\n":
            line, self._line = self._line, ""
            return "\r\n" + self._answered(line)
        if key == CONTROL_Z:
            self._line = ""
            return "\r\n" + self._answered("return")
        if key == CONTROL_C:
            self._line = ""
            return f"\r\n{self._prompt()}"
        if key in ERASE:
            shorter, self._line = bool(self._line), self._line[:-1]
            return "\b \b" if shorter else ""
        if not key.isprintable() or len(self._line) >= LINE_MAX:
            return ""
        self._line += key
        return key

    def _answered(self, line: str) -> str:
        text = self._answer(line)
        return (text.replace("\n", "\r\n") + "\r\n" if text else "") + self._prompt()

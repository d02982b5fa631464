"""Keeps secrets out of every byte that reaches the disk or the terminal.

Values are registered as they become known (`Redactor.register`); from then on they are replaced wherever they
stand, plainly or encoded (see `reports.encodings`). What looks like a secret by its shape or by its
key's name (`password=...`, a private key block, a crypt hash) is replaced even if nobody registered it.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from reports.encodings import SHORT, spellings, wrapped

MARK = "[redacted]"
MAX_DEPTH = 40

_KEY = r"[\w.-]*(?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key|token)"
_PLAIN = (
    r"(?:ssm:|\[redacted\]|[\d.]+\s*(?:m?s)?\b|(?:yes|no|on|off|none|null|true|false|prohibit-password)\b)"
)
# Where an option begins: no dash within a word, but after an escaped line break or a colour, too.
_OPTION = r"(?:(?<![\w-])|(?<=\\[nrt])|(?<=[\d;\[]m))"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        MARK,
    ),
    (re.compile(r"\$(?:1|2[abxy]|5|6|7|y|gy|argon2\w*)\$[\w./$=,-]{12,}"), MARK),
    (re.compile(r"(?<=://)([^\s/:@'\"]+):[^\s/@'\"]+(?=@)"), rf"\1:{MARK}"),
    (
        re.compile(
            r"(?i)\b(authorization|cookie|x-auth-token|csrfpreventiontoken)(['\"]?\s*[:=]\s*+['\"]?+)(?!\[redacted\])"
            r"[^'\"\r\n]+"
        ),
        rf"\1\2{MARK}",
    ),
    (re.compile(rf"(?i)(['\"]{_KEY}['\"]\s*:\s*)(['\"])(?!ssm:)(?:\\.|(?!\2).)+\2"), rf"\1\2{MARK}\2"),
    (
        re.compile(rf"(?i)({_OPTION}--?{_KEY}[ =]|\b{_KEY}\s?=\s?)(['\"]?)(?!{_PLAIN})[^\s'\"&;,)}}\]]+"),
        rf"\1\2{MARK}",
    ),
    (
        re.compile(rf"(?im)^(\s*(?:- )?{_KEY}:[ \t]+)(['\"]?)(?!{_PLAIN})[^\s'\"]+(['\"]?[ \t]*)$"),
        rf"\1\2{MARK}\3",
    ),
)
_ELLIPSIS = re.compile(r"\.{3}|…")


class Redactor:
    """Replaces secrets in text. Values may be registered at any time and from any thread."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._values: frozenset[str] = frozenset()
        self._needles: tuple[str, ...] = ()
        self._patterns: tuple[re.Pattern[str], ...] = ()
        self._plain: tuple[str, ...] = ()
        self.register(values)

    def register(self, values: Iterable[str]) -> None:
        """From now on these values, their lines and their encodings are replaced. Empty ones are ignored."""
        fresh = {value for value in (str(value) for value in values) if value.strip()} - self._values
        if not fresh:
            return
        with self._lock:
            self._values |= fresh
            long, words, folded = set[str](), set[str](), set[str]()
            for value in self._values:
                for spelling in spellings(value):
                    (long if len(spelling) >= SHORT else words).add(spelling)
                folded.update(wrapped(value))
            whole = sorted(words, key=len, reverse=True)
            patterns = [re.compile(rf"(?<!\w){re.escape(word)}(?!\w)") for word in whole]
            self._patterns = (*map(re.compile, sorted(folded, key=len, reverse=True)), *patterns)
            self._needles = tuple(sorted(long, key=lambda needle: (-len(needle), needle)))
            self._plain = tuple(needle for needle in self._needles if len(needle) >= 2 * SHORT)

    def text(self, text: str) -> str:
        """The text with every secret replaced by `[redacted]`, known by its value or by its shape."""
        text = self.known(text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def known(self, text: str) -> str:
        """The same for registered values only: for text that was redacted before but may hold a late one."""
        for needle in self._needles:
            if needle in text:
                text = text.replace(needle, MARK)
        for pattern in self._patterns:
            text = pattern.sub(MARK, text)
        return self._abbreviated(text)

    __call__ = text

    def deep(self, value: Any, depth: int = MAX_DEPTH) -> Any:
        """A copy of JSON-like data with every string in it redacted, keys too."""
        if isinstance(value, str):
            return self.text(value)
        if depth == 0 or value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self._key(key): self._under(key, item, depth - 1) for key, item in value.items()}
        if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes | bytearray):
            return [self.deep(item, depth - 1) for item in value]
        return self.text(str(value))

    def _key(self, key: Any) -> Any:
        """Keys are mostly words of a schema, which a short secret may happen to equal."""
        if isinstance(key, str) and any(needle in key for needle in self._plain):
            return self.text(key)
        return key

    def _under(self, key: Any, item: Any, depth: int) -> Any:
        """A value that stands under a key like `password` is a secret whatever it is."""
        if isinstance(key, str) and isinstance(item, str) and re.fullmatch(rf"(?i){_KEY}", key):
            return item if re.match(_PLAIN, item) or not item else MARK
        return self.deep(item, depth)

    def objects(self, value: Any, depth: int = MAX_DEPTH) -> Any:
        """Redact the strings inside an object tree in place (pytest's report objects) and return it."""
        if isinstance(value, str):
            return self.text(value)
        if depth == 0 or value is None or isinstance(value, bool | int | float | bytes | type):
            return value
        if isinstance(value, tuple):
            return tuple(self.objects(item, depth - 1) for item in value)
        if isinstance(value, list):
            value[:] = [self.objects(item, depth - 1) for item in value]
        elif isinstance(value, dict):
            for key in list(value):
                value[key] = self.objects(value[key], depth - 1)
        elif type(value).__module__.startswith("_pytest."):
            for name, item in list(vars(value).items()):
                setattr(value, name, self.objects(item, depth - 1))
        return value

    def _abbreviated(self, text: str) -> str:
        """Replace what is left of a secret where somebody shortened it: `abcdef...uvwxyz`."""
        if not self._plain or not _ELLIPSIS.search(text):
            return text
        pieces: list[str] = []
        end = 0
        for match in _ELLIPSIS.finditer(text):
            pieces += [text[end : match.start()], match.group()]
            end = match.end()
        pieces.append(text[end:])
        for index in range(0, len(pieces), 2):
            if index + 1 < len(pieces):
                pieces[index] = self._cut_tail(pieces[index])
            if index > 0:
                pieces[index] = self._cut_head(pieces[index])
        return "".join(pieces)

    def _cut_tail(self, text: str) -> str:
        for needle in self._plain:
            start = text.rfind(needle[:SHORT])
            if start >= 0 and needle.startswith(text[start:]):
                return text[:start] + MARK
        return text

    def _cut_head(self, text: str) -> str:
        for needle in self._plain:
            at = text.find(needle[-SHORT:])
            if at >= 0 and needle.endswith(text[: at + SHORT]):
                return MARK + text[at + SHORT :]
        return text

    def complete(self, text: str) -> int:
        """How much of `text` may be shown before more of it is known: no secret lies across that place."""
        longest = 0
        for needle in self._needles:
            for length in range(min(len(needle) - 1, len(text)), longest, -1):
                if text.endswith(needle[:length]):
                    longest = length
                    break
        cut, before = len(text) - longest, -1
        while cut != before:
            before = cut
            for needle in self._needles:
                at = text.find(needle, max(0, cut - len(needle) + 1))
                if 0 <= at < cut < at + len(needle):
                    cut = at
        return cut


class RedactingStream:
    """A text stream that redacts what passes, also where a secret comes in several pieces.

    Whole lines pass at once; the unfinished line passes except for an end that may be the start of a secret.
    `flush` does not give up that end, `release` does.
    """

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        self._stream = stream
        self._redactor = redactor
        self._rest = ""
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        with self._lock:
            pending = self._rest + text
            safe = self._redactor.complete(pending)
            self._rest = pending[safe:]
            self._stream.write(self._redactor.text(pending[:safe]))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def release(self) -> None:
        """Write what was held back: no more is to come."""
        with self._lock:
            rest, self._rest = self._rest, ""
            self._stream.write(self._redactor.text(rest))
            self._stream.flush()

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def redact_logging(redactor: Redactor) -> Any:
    """Redact log records as they are made, so that no handler sees a secret. Returns the former factory."""
    former = logging.getLogRecordFactory()
    formatter = logging.Formatter()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = former(*args, **kwargs)
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            # A faulty call is reported by logging itself; its text may still not leak.
            record.msg, record.args = redactor.text(f"{record.msg} {record.args!r}"), None
            return record
        cleaned = redactor.text(message)
        if cleaned != message:
            record.msg, record.args = cleaned, None
        if record.exc_info and not isinstance(record.exc_info, bool):
            record.exc_text = redactor.text(formatter.formatException(record.exc_info))
        return record

    logging.setLogRecordFactory(factory)
    return former

"""Comware's command words: any unambiguous beginning of a keyword will do. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lab.standins.switch import names

Handler = Callable[..., str]


class SyntaxProblem(Exception):  # noqa: N818 (Comware's word for a typing mistake)
    """What was typed is no command; `column` is where the caret stands, counted from 0."""

    def __init__(self, column: int, kind: str) -> None:
        super().__init__(kind)
        self.column = column
        self.kind = kind


@dataclass(frozen=True)
class Word:
    """One typed word and the column where it begins."""

    text: str
    column: int


@dataclass(frozen=True)
class Command:
    """Keywords and places: `<if>` an interface, `<n>` a number, `<word>`, `<rest>` to the end."""

    views: frozenset[str]
    pattern: tuple[str, ...]
    handler: Handler


@dataclass(frozen=True)
class _Fit:
    command: Command
    arguments: list[Any]
    exact: int


def words(line: str) -> list[Word]:
    """Split at blanks; an interface kind and a number after it become one word."""
    found: list[Word] = []
    column = 0
    for piece in line.split(" "):
        if piece:
            found.append(Word(piece, column))
        column += len(piece) + 1
    joined: list[Word] = []
    for word in found:
        if joined and word.text[0].isdigit() and "/" in word.text and names.is_kind(joined[-1].text):
            joined[-1] = Word(f"{joined[-1].text}{word.text}", joined[-1].column)
        else:
            joined.append(word)
    return joined


def match(
    commands: Sequence[Command], view: str, line: str, interfaces: Sequence[str]
) -> tuple[Command, list[Any]]:
    """The command that `line` means in `view`, with its arguments.

    Raises SyntaxProblem with Comware's kinds: Unrecognized, Incomplete or Ambiguous command.
    """
    typed = words(line)
    fits: list[_Fit] = []
    furthest, incomplete = 0, False
    for command in commands:
        if view not in command.views:
            continue
        reached, fit = _fit(command, typed, interfaces)
        if fit is not None:
            fits.append(fit)
        elif reached > furthest:
            furthest, incomplete = reached, reached == len(typed)
        elif reached == furthest and reached == len(typed):
            incomplete = True
    if fits:
        best = max(fit.exact for fit in fits)
        chosen = [fit for fit in fits if fit.exact == best]
        if len({fit.command.pattern for fit in chosen}) > 1:
            raise SyntaxProblem(typed[0].column, "Ambiguous command")
        return chosen[0].command, chosen[0].arguments
    if incomplete:
        raise SyntaxProblem(len(line), "Incomplete command")
    place = typed[furthest] if furthest < len(typed) else typed[-1]
    raise SyntaxProblem(place.column, "Unrecognized command")


def _fit(command: Command, typed: Sequence[Word], interfaces: Sequence[str]) -> tuple[int, _Fit | None]:
    """(how many words fitted, the fit when all did)."""
    arguments: list[Any] = []
    exact = 0
    for place, part in enumerate(command.pattern):
        if part == "<rest>":
            if place >= len(typed):
                return place, None
            arguments.append([word.text for word in typed[place:]])
            return len(typed), _Fit(command, arguments, exact)
        if place >= len(typed):
            return place, None
        text = typed[place].text
        if part == text.lower():
            exact += 1
        elif not _accepts(part, text, interfaces, arguments):
            return place, None
    if len(typed) > len(command.pattern):
        return len(command.pattern), None
    return len(typed), _Fit(command, arguments, exact)


def _accepts(part: str, text: str, interfaces: Sequence[str], arguments: list[Any]) -> bool:
    if part == "<if>":
        name = names.find(text, interfaces)
        if name is None:
            return False
        arguments.append(name)
        return True
    if part == "<n>":
        if not text.isdigit():
            return False
        arguments.append(int(text))
        return True
    if part == "<word>":
        arguments.append(text)
        return True
    return part.startswith(text.lower())

"""From what pydantic found to one sentence a problem: file, key, value, what was expected.

A value that may be a secret is not shown: someone who writes a password where a reference belongs must not
find it in a log afterwards.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_SECRET = re.compile(r"pass|secret|token|private|hash$|_key$|^key$|^notify\b", re.IGNORECASE)
_SECRET_REFERENCES = frozenset({"user", "admin_public_key", "public_key", "host_key"})
_LONGEST = 60

Location = tuple[int | str, ...]


@dataclass(frozen=True)
class Problem:
    """One thing wrong: `key` as it stands in the file, `value` or None where absent or not to be shown."""

    key: str
    value: str | None
    expected: str

    def sentence(self, file: str) -> str:
        """`sites/x.toml: bond.mtu = 9: expected ...`"""
        return f"{file}: {self.key}{'' if self.value is None else f' = {self.value}'}: {self.expected}"


def shown(key: str, value: object) -> str | None:
    """The value as a message may show it: short, on one line; None when it may be a secret or is a table."""
    last = key.rsplit(".", 1)[-1]
    if isinstance(value, (dict, list)):
        return None
    reference = isinstance(value, str) and value.startswith("ssm:")
    if not reference and (_SECRET.search(last) or last in _SECRET_REFERENCES):
        return None
    text = {True: "true", False: "false"}.get(value, repr(value)) if isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 4] + "...'"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field's annotation mentions, through tuples, dicts and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        for argument in typing.get_args(annotation):
            yield from _models(argument)


def fields(model: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """Keys of a table as they stand in a file, each with the model of the table under it."""
    return {
        field.alias or name: next(_models(field.annotation), None)
        for name, field in model.model_fields.items()
    }


def tables(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every table with its dotted path, the top first; without names of nodes, networks, pools."""
    yield path, model
    for key, inner in fields(model).items():
        if inner is not None:
            yield from tables(inner, f"{path}.{key}" if path else key)


def dotted(location: Location, data: Mapping[str, Any]) -> str:
    """The key as a person names it: `node.node1.links[0].mac`; an unnamed entry keeps its number."""
    key, here = "", typing.cast(Any, data)
    for part in location:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            here = None
        if isinstance(part, int):
            name = here.get("name") if isinstance(here, dict) and key in ("node", "switch", "guest") else None
            key += f".{name}" if isinstance(name, str) and name.isprintable() else f"[{part}]"
        else:
            key += f".{part}" if key else part
    return key


def _model_at(location: Location, top: type[BaseModel]) -> type[BaseModel]:
    model = top
    for part in location:
        inner = fields(model).get(part) if isinstance(part, str) else None
        model = inner or model
    return model


def _nearest(location: Location, top: type[BaseModel]) -> str | None:
    near = difflib.get_close_matches(
        str(location[-1]), fields(_model_at(location[:-1], top)), n=1, cutoff=0.6
    )
    return near[0] if near else None


def _unknown_key(location: Location, top: type[BaseModel]) -> str:
    wrong = str(location[-1])
    near = _nearest(location, top)
    if near is not None:
        return f"unknown key; did you mean {near}?"
    homes = [path for path, model in tables(top) if wrong in fields(model) and path]
    if homes:
        return f"unknown key here; it belongs in [{homes[0]}]"
    return f"unknown key; expected one of {', '.join(fields(_model_at(location[:-1], top)))}"


def _description(location: Location, top: type[BaseModel]) -> str:
    names = [part for part in location if isinstance(part, str)]
    if not names:
        return ""
    model = _model_at(location[: len(location) - 1], top)
    for name, field in model.model_fields.items():
        if names[-1] in (name, field.alias):
            return field.description or ""
    return ""


_BOUNDS = {
    "greater_than": "> {gt}",
    "greater_than_equal": ">= {ge}",
    "less_than": "< {lt}",
    "less_than_equal": "<= {le}",
}
_KINDS = {
    "string_type": "a text in quotes",
    "int_type": "a whole number without quotes",
    "int_from_float": "a whole number without quotes",
    "float_type": "a number without quotes",
    "bool_type": "true or false without quotes",
    "tuple_type": 'a list of values such as ["a", "b"], not one text',
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


def _expectation(error: ErrorDetails, top: type[BaseModel]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    about = _description(error["loc"], top)
    suffix = f" ({about})" if about else ""
    if kind == "extra_forbidden":
        return _unknown_key(error["loc"], top)
    if kind == "missing":
        return f"missing; expected {about or 'a value'}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"expected {context['expected']}{suffix}"
    if kind == "too_short":
        return f"expected at least one value{suffix}"
    if kind in _BOUNDS:
        return f"expected a number {_BOUNDS[kind].format(**context)}{suffix}"
    if kind == "tuple_type" and isinstance(error["input"], dict):
        return f"expected tables in double brackets, [[{error['loc'][-1]}]]"
    if kind in _KINDS:
        return f"expected {_KINDS[kind]}{suffix}"
    return f"expected {about or error['msg']}"


def problems_of(error: ValidationError, data: Mapping[str, Any], top: type[BaseModel]) -> list[Problem]:
    """One problem for each thing pydantic found, in the order of the file's model.

    A misspelt key is one mistake: that the right one is missing then goes without saying.
    """
    details = error.errors(include_url=False)
    misspelt = {
        (*detail["loc"][:-1], _nearest(detail["loc"], top))
        for detail in details
        if detail["type"] == "extra_forbidden"
    }
    found = []
    for detail in details:
        if detail["type"] == "missing" and detail["loc"] in misspelt:
            continue
        if detail["type"] == "too_short" and any(other["loc"][:-1] == detail["loc"] for other in details):
            continue  # pydantic counts only the good entries; the bad one was named already
        key = dotted(detail["loc"], data)
        value = None if detail["type"] == "missing" else shown(key, detail["input"])
        found.append(Problem(key, value, _expectation(detail, top)))
    return found

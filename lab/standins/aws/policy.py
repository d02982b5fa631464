"""Evaluation of IAM policy documents: what a principal may do, as AWS decides it.

Order of decision (IAM user guide, "Policy evaluation logic"): an explicit Deny wins, else an Allow is needed,
else the request is implicitly denied. Pure functions: documents and a request in, a decision out.
"""

from __future__ import annotations

import enum
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

Document = Mapping[str, Any]


class Decision(enum.Enum):
    """Outcome for one request against a set of documents."""

    ALLOW = "allow"
    EXPLICIT_DENY = "explicit deny"
    IMPLICIT_DENY = "implicit deny"


class PolicyError(Exception):
    """A policy document uses something that is not understood; the gate then refuses."""


@dataclass(frozen=True)
class Request:
    """One action on one resource. `context` holds the condition keys, lower case, each with its values."""

    action: str
    resource: str
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    principals: frozenset[str] = frozenset()
    """Names by which a resource policy may speak of the caller (`AWS:<arn>`, `Service:<name>`)."""


def parse(text: str | Document) -> Document:
    """A policy document from its JSON text.

    Raises PolicyError when the text is not a JSON object.
    """
    if not isinstance(text, str):
        return text
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise PolicyError(f"policy is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise PolicyError("policy is not a JSON object")
    return document


def evaluate(documents: Iterable[Document], request: Request, *, resource_policy: bool = False) -> Decision:
    """Decide `request` over all statements of `documents`.

    With `resource_policy` the Principal element must name the caller (trust, key and bucket policies);
    without it the document belongs to the caller and has none.
    """
    allowed = False
    for document in documents:
        for statement in _listed(document.get("Statement", [])):
            if not _matches(statement, request, resource_policy):
                continue
            if statement.get("Effect") == "Deny":
                return Decision.EXPLICIT_DENY
            allowed = allowed or statement.get("Effect") == "Allow"
    return Decision.ALLOW if allowed else Decision.IMPLICIT_DENY


def _matches(statement: Mapping[str, Any], request: Request, resource_policy: bool) -> bool:
    if resource_policy and not _principal_matches(statement, request.principals):
        return False
    if not _element(statement, "Action", lambda pattern: glob(pattern.lower(), request.action.lower())):
        return False
    # A trust policy and most key policies have no Resource or "*": the resource is the one they hang on.
    names_resource = "Resource" in statement or "NotResource" in statement
    if names_resource or not resource_policy:
        expand = _variables(request.context)
        if not _element(statement, "Resource", lambda p: arn_matches(expand(p), request.resource)):
            return False
    return _conditions_hold(statement.get("Condition", {}), request.context)


def _element(statement: Mapping[str, Any], name: str, matches: Callable[[str], bool]) -> bool:
    if name in statement:
        return any(matches(value) for value in _listed(statement[name]))
    if f"Not{name}" in statement:
        return not any(matches(value) for value in _listed(statement[f"Not{name}"]))
    return False


def _principal_matches(statement: Mapping[str, Any], principals: frozenset[str]) -> bool:
    named = statement.get("Principal")
    if named is None:
        return False
    if named == "*":
        return True
    for kind, values in named.items():
        for value in _listed(values):
            if kind == "AWS" and value == "*":
                return True
            if f"{kind}:{value}" in principals:
                return True
    return False


# --- patterns --------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile("".join(parts), re.DOTALL)


def glob(pattern: str, value: str) -> bool:
    """IAM wildcards: `*` any run of characters (also `/`), `?` one; nothing else is special."""
    return _pattern(pattern).fullmatch(value) is not None


def arn_matches(pattern: str, arn: str) -> bool:
    """Each of the six parts of an ARN matches on its own; `*` alone matches everything."""
    if pattern == "*":
        return True
    wanted, given = pattern.split(":", 5), arn.split(":", 5)
    return len(wanted) == len(given) and all(glob(p, v) for p, v in zip(wanted, given, strict=True))


def _variables(context: Mapping[str, tuple[str, ...]]) -> Callable[[str], str]:
    """Replace policy variables such as `${aws:username}`; one without a value matches nothing."""

    def expand(text: str) -> str:
        def value(match: re.Match[str]) -> str:
            values = context.get(match.group(1).lower(), ())
            return values[0] if len(values) == 1 else "\0"

        return re.sub(r"\$\{([^}]+)\}", value, text)

    return expand


# --- conditions ------------------------------------------------------------------------------


def _number(test: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def compare(wanted: str, given: str) -> bool:
        try:
            return test(float(given), float(wanted))
        except ValueError:
            return False

    return compare


def _ip_in(wanted: str, given: str) -> bool:
    try:
        return ipaddress.ip_address(given) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "stringequals": lambda wanted, given: wanted == given,
    "stringequalsignorecase": lambda wanted, given: wanted.lower() == given.lower(),
    "stringlike": glob,
    "arnequals": arn_matches,
    "arnlike": arn_matches,
    "bool": lambda wanted, given: wanted.lower() == given.lower(),
    "ipaddress": _ip_in,
    "numericequals": _number(lambda given, wanted: given == wanted),
    "numericlessthan": _number(lambda given, wanted: given < wanted),
    "numericlessthanequals": _number(lambda given, wanted: given <= wanted),
    "numericgreaterthan": _number(lambda given, wanted: given > wanted),
    "numericgreaterthanequals": _number(lambda given, wanted: given >= wanted),
}
_NEGATED = {
    "stringnotequals": "stringequals",
    "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
    "notipaddress": "ipaddress",
    "numericnotequals": "numericequals",
}


def _conditions_hold(condition: Mapping[str, Any], context: Mapping[str, tuple[str, ...]]) -> bool:
    """All operators and all keys must hold (logical and); several values of one key are alternatives."""
    return all(
        _one_holds(operator, _listed(wanted), context.get(key.lower()), context)
        for operator, keys in condition.items()
        for key, wanted in keys.items()
    )


def _one_holds(
    operator: str,
    wanted: Sequence[Any],
    given: tuple[str, ...] | None,
    context: Mapping[str, tuple[str, ...]],
) -> bool:
    quantifier, _, bare = operator.rpartition(":")
    name = bare.lower()
    expand = _variables(context)
    values = [expand(_text(value)) for value in wanted]
    if name == "null":
        return (given is None) == (values[0].lower() == "true")
    if name.endswith("ifexists"):
        if given is None:
            return True
        name = name.removesuffix("ifexists")
    negated = name in _NEGATED
    test = _OPERATORS.get(_NEGATED.get(name, name))
    if test is None:
        raise PolicyError(f"condition operator {operator} is not supported")
    if given is None:
        return negated or quantifier.lower() == "forallvalues"

    def holds(value: str) -> bool:
        return any(test(pattern, value) for pattern in values) != negated

    return all(map(holds, given)) if quantifier.lower() == "forallvalues" else any(map(holds, given))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]

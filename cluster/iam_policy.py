"""IAM policy documents as JSON: reading them, and deciding what they allow without asking AWS.

The decision follows AWS's logic for one account: an explicit Deny wins, then an Allow, else it is denied
implicitly (docs.aws.amazon.com, "Policy evaluation logic"). Not modelled: permission boundaries, session and
organisation policies; they can only take rights away.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from cluster.errors import RackproofError

Document = Mapping[str, Any]
Effect = Literal["allow", "explicit deny", "implicit deny"]
Values = tuple[str, ...]

_STATEMENT_KEYS = frozenset(
    {
        "Sid",
        "Effect",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Principal",
        "NotPrincipal",
        "Condition",
    }
)


class PolicyError(RackproofError):
    """A document that is no policy, or that uses what this evaluator does not know; says where."""


@dataclass(frozen=True)
class Statement:
    """One statement. `sid` is its name, or its number. Principals are written `AWS:...` or `Service:...`."""

    sid: str
    allow: bool
    actions: Values = ()
    not_actions: Values = ()
    resources: Values = ()
    not_resources: Values = ()
    principals: Values = ()
    not_principals: Values = ()
    conditions: tuple[tuple[str, str, Values], ...] = ()  # (operator, key, values)


@dataclass(frozen=True)
class Request:
    """One call. Context keys such as `kms:ViaService` are case-insensitive; several values make a tuple."""

    action: str
    resource: str
    context: Mapping[str, str | Values] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What a request gets, and which statement said so (empty for an implicit deny)."""

    effect: Effect
    sid: str = ""

    @property
    def allowed(self) -> bool:
        """True for an allow that nothing denies."""
        return self.effect == "allow"


def _values(value: object, where: str) -> Values:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, (int, float)):
        return (str(value),)
    if isinstance(value, list) and value:
        return tuple(each for item in value for each in _values(item, where))
    raise PolicyError(f"{where}: expected a text or a list of texts")


def _principals(value: object, where: str) -> Values:
    if value == "*":
        return ("AWS:*",)
    if not isinstance(value, dict):
        raise PolicyError(f'{where}: expected "*" or an object such as {{"Service": "ssm.amazonaws.com"}}')
    return tuple(f"{kind}:{each}" for kind, names in value.items() for each in _values(names, where))


def _conditions(value: object, where: str) -> Iterator[tuple[str, str, Values]]:
    if not isinstance(value, dict):
        raise PolicyError(f"{where}: expected an object of operators")
    for operator, keys in value.items():
        if not isinstance(keys, dict):
            raise PolicyError(f"{where}.{operator}: expected an object of condition keys")
        for key, values in keys.items():
            yield operator, key, _values(values, f"{where}.{operator}.{key}")


def _statement(raw: object, number: int) -> Statement:
    if not isinstance(raw, dict):
        raise PolicyError(f"statement {number}: expected an object")
    sid = str(raw.get("Sid") or f"statement {number}")
    unknown = set(raw) - _STATEMENT_KEYS
    if unknown:
        raise PolicyError(f"{sid}: unknown key {', '.join(sorted(unknown))}; IAM refuses such a document")
    if raw.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError(f"{sid}.Effect: expected Allow or Deny")
    if ("Action" in raw) == ("NotAction" in raw):
        raise PolicyError(f"{sid}: expected either Action or NotAction")

    def values(key: str) -> Values:
        return _values(raw[key], f"{sid}.{key}") if key in raw else ()

    return Statement(
        sid=sid,
        allow=raw["Effect"] == "Allow",
        actions=values("Action"),
        not_actions=values("NotAction"),
        resources=values("Resource"),
        not_resources=values("NotResource"),
        principals=_principals(raw["Principal"], f"{sid}.Principal") if "Principal" in raw else (),
        not_principals=_principals(raw["NotPrincipal"], f"{sid}.NotPrincipal")
        if "NotPrincipal" in raw
        else (),
        conditions=tuple(_conditions(raw.get("Condition", {}), f"{sid}.Condition")),
    )


def statements(document: Document) -> tuple[Statement, ...]:
    """The statements of a policy document. Raises PolicyError where it is none."""
    if not isinstance(document, Mapping) or "Statement" not in document:
        raise PolicyError("expected a policy document: an object with Version and Statement")
    if document.get("Version") != "2012-10-17":
        raise PolicyError(
            'Version: expected "2012-10-17"; without it variables such as ${aws:username} are plain text'
        )
    raw = document["Statement"]
    return tuple(
        _statement(each, number) for number, each in enumerate(raw if isinstance(raw, list) else [raw], 1)
    )


@cache
def _glob(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    text = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def like(pattern: str, text: str, ignore_case: bool = False) -> bool:
    """IAM's `*` and `?`."""
    return _glob(pattern, ignore_case).fullmatch(text) is not None


def arn_like(pattern: str, arn: str) -> bool:
    """Whether an ARN fits a pattern, each of its six parts by itself; `*` stands for missing ones."""
    wanted, given = pattern.split(":", 5), arn.split(":", 5)
    wanted += ["*"] * (6 - len(wanted))
    given += [""] * (6 - len(given))
    return all(like(one, other) for one, other in zip(wanted, given, strict=True))


def _network(pattern: str, address: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        raise PolicyError(f"IpAddress: '{pattern}' or '{address}' is no address") from None


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, given: wanted == given,
    "StringEqualsIgnoreCase": lambda wanted, given: wanted.lower() == given.lower(),
    "StringLike": like,
    "ArnEquals": arn_like,
    "ArnLike": arn_like,
    "Bool": lambda wanted, given: wanted.lower() == given.lower(),
    "IpAddress": _network,
    "NumericEquals": lambda wanted, given: float(wanted) == float(given),
    "NumericLessThan": lambda wanted, given: float(given) < float(wanted),
    "NumericLessThanEquals": lambda wanted, given: float(given) <= float(wanted),
    "NumericGreaterThan": lambda wanted, given: float(given) > float(wanted),
    "NumericGreaterThanEquals": lambda wanted, given: float(given) >= float(wanted),
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals",
}


def _with_variables(text: str, context: Mapping[str, Values]) -> str:
    """`${aws:username}` replaced from the context; one that is not there matches nothing."""
    return re.sub(r"\$\{([^}]+)\}", lambda found: (context.get(found.group(1).lower()) or ("\0",))[0], text)


def _holds(operator: str, key: str, wanted: Values, context: Mapping[str, Values]) -> bool:
    quantifier, _, plain = operator.rpartition(":")
    optional = plain.endswith("IfExists")
    plain = plain.removesuffix("IfExists")
    given = context.get(key.lower())
    if plain == "Null":
        return (given is None) == (wanted[0].lower() == "true")
    negated = plain in _NEGATED
    test = _OPERATORS.get(_NEGATED.get(plain, plain))
    if test is None or quantifier not in ("", "ForAnyValue", "ForAllValues"):
        raise PolicyError(f"condition operator {operator}: this evaluator does not know it")
    if given is None:
        return optional or negated or quantifier == "ForAllValues"
    patterns = [_with_variables(each, context) for each in wanted]

    def one(value: str) -> bool:
        try:
            return any(test(pattern, value) for pattern in patterns) != negated
        except ValueError:
            raise PolicyError(f"condition {operator} {key}: expected numbers") from None

    return all(map(one, given)) if quantifier == "ForAllValues" else any(map(one, given))


def conditions_hold(statement: Statement, context: Mapping[str, str | Values]) -> bool:
    """Whether all conditions of a statement hold. Raises PolicyError for an operator that is not known."""
    lowered = {key.lower(): (v,) if isinstance(v, str) else v for key, v in context.items()}
    return all(_holds(operator, key, values, lowered) for operator, key, values in statement.conditions)


def names_action(statement: Statement, action: str) -> bool:
    """Whether the statement speaks of an action such as `ssm:GetParameter`."""
    if statement.not_actions:
        return not any(like(each, action, ignore_case=True) for each in statement.not_actions)
    return any(like(each, action, ignore_case=True) for each in statement.actions)


def names_resource(
    statement: Statement, resource: str, context: Mapping[str, str | Values] | None = None
) -> bool:
    """Whether the statement speaks of a resource; a statement without one (a trust policy) speaks of all."""
    lowered = {key.lower(): (v,) if isinstance(v, str) else v for key, v in (context or {}).items()}

    def fits(pattern: str) -> bool:
        pattern = _with_variables(pattern, lowered)
        return pattern == "*" or arn_like(pattern, resource)

    if statement.not_resources:
        return not any(map(fits, statement.not_resources))
    return not statement.resources or any(map(fits, statement.resources))


def evaluate(documents: Sequence[Document], request: Request) -> Decision:
    """What identity policies together say to a request. Raises PolicyError for a document that is none."""
    allowed = Decision("implicit deny")
    for document in documents:
        for statement in statements(document):
            if (
                names_action(statement, request.action)
                and names_resource(statement, request.resource, request.context)
                and conditions_hold(statement, request.context)
            ):
                if not statement.allow:
                    return Decision("explicit deny", statement.sid)
                if not allowed.allowed:
                    allowed = Decision("allow", statement.sid)
    return allowed

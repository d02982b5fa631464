"""The reference of a site file's keys as Markdown, made from the models, so that page and program agree."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cluster import site_types
from cluster.site_errors import tables
from cluster.targets import TARGETS
from cluster.units import format_seconds, format_size

_KINDS = {
    site_types.Size: "size",
    site_types.Rate: "rate",
    site_types.Seconds: "time",
    site_types.Address: "IPv4 address",
    site_types.Subnet: "IPv4 subnet",
    site_types.InterfaceAddress: "IPv4 address with prefix length",
    site_types.SitePath: "path",
    site_types.SsmReference: "`ssm:` reference",
    site_types.Mac: "MAC address",
    site_types.HttpsUrl: "https URL",
    site_types.Share: "fraction",
    site_types.MailAddress: "mail address",
    site_types.Receiver: "receiver",
    site_types.Integer: "whole number",
    site_types.Number: "number",
    site_types.Boolean: "`true` or `false`",
    Any: "value",
    # bounds on a number make it another annotation
    int: "whole number",
    float: "number",
}


def _plural(kind: str) -> str:
    return kind + ("es" if kind.endswith("s") else "s")


def _kinds(annotation: Any) -> Iterator[str]:
    """The kinds of value an annotation allows, in words."""
    origin = typing.get_origin(annotation)
    if annotation in _KINDS:
        yield _KINDS[annotation]
    elif origin is Literal:
        yield ", ".join(f"`{value}`" for value in typing.get_args(annotation))
    elif origin is tuple:
        yield "list of " + _plural(next(_kinds(typing.get_args(annotation)[0])))
    elif origin is dict:
        yield _plural(next(_kinds(typing.get_args(annotation)[1]))) + " by name"
    elif origin in (typing.Union, types.UnionType):
        for argument in typing.get_args(annotation):
            if argument is not type(None):
                yield from _kinds(argument)
    elif origin is typing.Annotated:
        yield from _kinds(typing.get_args(annotation)[0])
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "table"
    else:
        yield "text"


def _default(field: FieldInfo, kind: str) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if value is None or value in ((), {}):
        return "none"
    if kind == "time":
        return f"`{format_seconds(value)}`"
    if kind == "size":
        return f"`{format_size(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _row(name: str, field: FieldInfo, annotation: Any) -> str:
    kind = next(_kinds(annotation))
    text = (field.description or "").replace("|", r"\|")
    return f"| `{field.alias or name}` | {kind} | {_default(field, kind)} | {text} |"


def table(path: str, model: type[BaseModel]) -> str:
    """The section of one table: its keys, kinds, defaults and meaning."""
    hints = typing.get_type_hints(model, include_extras=True)
    title = f"### `{path}`" if path else "### Top of the file"
    rows = [_row(name, field, hints[name]) for name, field in model.model_fields.items()]
    about = (model.__doc__ or "").strip().splitlines()[0]
    return (
        "\n".join([title, "", about, "", "| key | value | default | meaning |", "|---|---|---|---|", *rows])
        + "\n"
    )


def targets() -> str:
    """The table of targets that `[relax]` may name."""
    rows = [f"| `{t.name}` | {t.relation} {t.default} | {t.source} |" for t in TARGETS.values()]
    return "\n".join(["| target | asked | source |", "|---|---|---|", *rows]) + "\n"


def reference(top: type[BaseModel]) -> str:
    """Every section, the top of the file first."""
    return "\n".join(table(path, model) for path, model in tables(top))


def write(page: Path, top: type[BaseModel]) -> None:
    """Replaces what lies between the page's markers, `<!-- keys -->` to `<!-- end keys -->`; targets too."""
    text = page.read_text(encoding="utf-8")
    for name, made in (("keys", reference(top)), ("targets", targets())):
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        _, _, after = rest.partition(f"<!-- end {name} -->")
        text = f"{before}<!-- {name} -->\n{made}<!-- end {name} -->{after}"
    page.write_text(text, encoding="utf-8")

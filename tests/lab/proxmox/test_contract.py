"""Every endpoint that the stand-in declares, called through proxmoxer and held against PVE's official schema.

An endpoint that nobody calls here fails `test_every_endpoint_has_a_case`. The cases stand in `contract_*.py`
beside this file, one module a subject: `CASES = {("GET", "/version"): Case()}`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from proxmoxer import ResourceException

from lab.standins.proxmox.daemon import endpoints
from lab.standins.proxmox.daemon.http.registry import Endpoint
from lab.standins.proxmox.daemon.http.registry import endpoints as declared

from . import pve_schema
from .conftest import NODE, Rig
from .contract import Case

endpoints.load()
ENDPOINTS = {(one.method, one.path): one for one in declared()}
MODULES = sorted(path.stem for path in Path(__file__).parent.glob("contract_*.py"))
CASES: dict[tuple[str, str], Case] = {}
for _name in MODULES:
    CASES |= importlib.import_module(f"{__package__}.{_name}").CASES

official = pytest.mark.skipif(
    not pve_schema.PATH.exists(), reason="no copy of PVE's API schema beside the checkout"
)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return pve_schema.load()


def _method(schema: dict[str, Any], one: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = schema.get(one.path, {}).get("methods", {}).get(one.method, {})
    assert found, f"{one.method} {one.path} is no endpoint of PVE's"
    return found


def test_every_endpoint_has_a_case() -> None:
    missing = sorted(ENDPOINTS.keys() - CASES.keys())
    assert not missing, f"endpoints without a contract case in {', '.join(MODULES)}: {missing}"


def test_no_case_without_an_endpoint() -> None:
    assert not sorted(CASES.keys() - ENDPOINTS.keys())


@official
@pytest.mark.parametrize("key", ENDPOINTS, ids=" ".join)
def test_parameters_are_the_official_ones(key: tuple[str, str], schema: dict[str, Any]) -> None:
    one = ENDPOINTS[key]
    theirs = _method(schema, one)["parameters"]
    for name, mine in one.parameters.items():
        assert name in theirs, f"{name} is no parameter of {one.method} {one.path}"
        assert mine.get("type", "string") == theirs[name]["type"], name
        assert bool(mine.get("optional")) == bool(theirs[name].get("optional")) or name in one.names, name
        for bound in ("minimum", "maximum", "minLength", "maxLength"):
            if bound in mine or bound in theirs[name]:
                assert str(mine.get(bound)) == str(theirs[name].get(bound)), f"{name}: {bound}"
        if "enum" in mine and "enum" in theirs[name]:
            assert {*map(str, mine["enum"])} <= {*map(str, theirs[name]["enum"])}, name
    needed = {name for name, one_ in theirs.items() if not one_.get("optional") and "[n]" not in name}
    assert needed <= {*one.parameters, *one.names}, "official parameters that must be given are not known"
    tokens = bool(_method(schema, one).get("allowtoken", 1))
    assert one.tokens == tokens, f"API tokens {'allowed' if tokens else 'refused'} officially"


@official
@pytest.mark.parametrize("key", CASES, ids=" ".join)
def test_answers_as_the_official_schema_says(key: tuple[str, str], schema: dict[str, Any], rig: Rig) -> None:
    case, theirs = CASES[key], _method(schema, ENDPOINTS[key])
    for name in case.params:
        family = name.rstrip("0123456789") + "[n]"
        assert name in theirs["parameters"] or family in theirs["parameters"], f"{name} is not official"
    if case.refusal:
        with pytest.raises(ResourceException, match=case.refusal):
            called(rig, key, case)
        return
    answer = called(rig, key, case)
    found = [
        f"{place or 'the answer'}: {text}"
        for place, text in pve_schema.problems(theirs["returns"], answer)
        if (*key, place) not in pve_schema.DEFECTS
        and (*key, place.removesuffix("[]")) not in pve_schema.DEFECTS
    ]
    assert not found, f"{key[0]} {key[1]} answered {answer!r}: {found}"
    if case.check:
        case.check(rig, answer)


def called(rig: Rig, key: tuple[str, str], case: Case) -> Any:
    more = case.prepare(rig) if case.prepare else None
    place = {"node": NODE, **case.path, **(more or {})}
    return rig.call(key[0], key[1].format_map(place), **case.params)

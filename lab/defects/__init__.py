"""Defects on order: what a rack can have wrong with it, each to be caught by the scenario that it names.

`apply` and `undo` run inside the rack's namespaces. What a defect needs in order to be mended is kept in the
state folder, so that a rack can be mended by a later process.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.defects import bmcs, fabric, membership, nodes, parameters, servers, storage
from lab.defects.defect import Defect, Place
from lab.errors import LabError
from lab.paths import State, state_folder
from lab.rack import Rack, load
from lab.standins.aws import material

CATALOGUE: dict[str, Defect] = {
    defect.name: defect
    for module in (fabric, servers, parameters, bmcs, nodes, membership, storage)
    for defect in module.DEFECTS
}


def apply(name: str, target: str | None = None, rack: Rack | None = None, state: State | None = None) -> str:
    """Inject a defect; says what is broken now.

    Raises LabError for an unknown defect or target, or when it is in already.
    """
    defect, place = _place(name, target, rack, state)
    kept = _kept(place.state, name, place.target)
    if kept.exists():
        raise LabError(f"{name}{_at(place)} is broken already; mend it first")
    # The book is opened before anything is touched: a break that is killed half way can still be mended.
    material.write_private(kept, json.dumps({}).encode())
    try:
        memory = defect.apply(place)
    except LabError:
        kept.unlink()
        raise
    material.write_private(kept, json.dumps(memory).encode())
    return f"broken: {name}{_at(place)} ({defect.what}); must be caught by {defect.caught_by[0]}"


def undo(name: str, target: str | None = None, rack: Rack | None = None, state: State | None = None) -> str:
    """Mend a defect; asked again it changes nothing. Raises LabError when it cannot be mended now."""
    defect, place = _place(name, target, rack, state)
    kept = _kept(place.state, name, place.target)
    if not kept.exists():
        return f"{name}{_at(place)} is not broken"
    memory: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    defect.undo(place, memory)
    kept.unlink()
    return f"mended: {name}{_at(place)}"


def broken(state: State | None = None) -> list[tuple[str, str]]:
    """(name, target) of all defects that are in; the target is empty where a defect has none."""
    folder = (state or state_folder()).defects
    names = sorted(file.stem for file in folder.glob("*.json")) if folder.exists() else []
    return [(name, target) for name, _, target in (stem.partition("@") for stem in names)]


def catalogue() -> str:
    """All defects, one block each."""
    return "\n".join(
        f"{defect.name:<22} {defect.what}"
        + (f" [{defect.on}, else {defect.default}]" if defect.on else "")
        + f"\n{'':<22} caught by: {'; '.join(defect.caught_by)}"
        for defect in CATALOGUE.values()
    )


def _place(name: str, target: str | None, rack: Rack | None, state: State | None) -> tuple[Defect, Place]:
    if name not in CATALOGUE:
        raise LabError(f"no defect {name!r} in the catalogue, expected one of {', '.join(CATALOGUE)}")
    defect, hardware = CATALOGUE[name], rack or load()
    known = {
        "": [],
        "node": [server.name for server in hardware.server],
        "switch": [switch.name for switch in hardware.switch],
    }[defect.on]
    chosen = target or defect.default
    if chosen and chosen not in known:
        expected = f"expected one of {', '.join(known)}" if known else "it takes no target"
        raise LabError(f"{name}: target {chosen!r}: {expected}")
    return defect, Place(hardware, state or state_folder(), chosen)


def _kept(state: State, name: str, target: str) -> Path:
    state.defects.mkdir(parents=True, exist_ok=True)
    return state.defects / (f"{name}@{target}.json" if target else f"{name}.json")


def _at(place: Place) -> str:
    return f" at {place.target}" if place.target else ""

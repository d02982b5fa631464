"""The rack serves what phase 7 asks of Proxmox VE's API, parameter by parameter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.site import ROOT, Site, load
from lab.standins.proxmox.daemon import endpoints
from lab.standins.proxmox.daemon.http import registry
from lab.standins.proxmox.daemon.http.parameters import validate
from provisioners.converge import converge, rollback
from provisioners.guests import images
from provisioners.guests.order import image
from provisioners.ha import actions, fencing
from provisioners.ha.phase import PHASE
from tests.provisioners.ha_world import World


@pytest.fixture(autouse=True)
def served() -> None:
    """Everything that a node of the rack serves."""
    endpoints.load()


@pytest.fixture
def site() -> Site:
    """The ordered hardware, with containers as the rack has them."""
    ordered = load(ROOT / "sites/pve1.toml")
    guests = tuple(guest.model_copy(update={"unprivileged": False}) for guest in ordered.guests)
    return ordered.model_copy(update={"guests": guests})


@pytest.fixture
def asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Each call of a phase 7 that makes all, sets things right, and takes all back."""

    def build(cluster: Any, guest: Any, folder: Path, progress: Any) -> Path:
        file = folder / image(site, guest)
        file.write_bytes(b"image")
        return file

    world: Any = World(site)
    monkeypatch.setattr(images, "build", build)
    monkeypatch.setattr(actions, "play", world.play)
    monkeypatch.setattr(fencing, "play", world.play)
    monkeypatch.setattr(actions, "POLL_S", 0.0)

    def once() -> None:
        converge(PHASE, world, record=lambda change: None, progress=lambda text: None)

    world.options["ha"] = "shutdown_policy=migrate"
    once()
    world.guests[9001]["config"]["memory"] = "32"
    world.resources["vm:9002"]["max_restart"] = "1"
    world.rules["rackproof-beat-vm"]["disable"] = "1"
    world.states["vm:9002"] = "error"
    once()
    rollback(PHASE, world, progress=lambda text: None)
    return [entry for entry in world.log if entry[0] in {"get", "post", "put", "delete"}]


def test_each_call_is_served_and_each_parameter_is_known(asked: list[Any]) -> None:
    assert len({(method, path) for method, path, _ in asked}) > 15
    for method, path, values in asked:
        found, _ = registry.find(method.upper(), f"/{path}")
        validate(found.parameters, {name: str(value) for name, value in values.items()})


def test_an_upload_is_served(site: Site) -> None:
    found, _ = registry.find("POST", "/nodes/node1/storage/cephfs/upload")
    for content in ("iso", "vztmpl"):
        sum_ = {"checksum": "0" * 64, "checksum-algorithm": "sha256"}
        validate(found.parameters, {"content": content, "filename": "x.iso", **sum_})

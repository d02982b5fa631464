"""The lab's site, and nodes as ordered."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.site import ROOT, Site, load
from provisioners.base_install.files import Material
from provisioners.base_install.observation import Observation
from tests.provisioners.nodes import MATERIAL, all_installed


@pytest.fixture(scope="session")
def site() -> Site:
    return load(Path(ROOT / "sites/lab.toml"))


@pytest.fixture
def material() -> Material:
    return MATERIAL


@pytest.fixture
def installed(site: Site) -> Observation:
    return all_installed(site)

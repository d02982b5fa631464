"""The lab's site, and a real record of a run in a folder that goes away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.site import ROOT, Site, load
from reports.evidence import Run
from reports.redaction import Redactor


@pytest.fixture(scope="session")
def site() -> Site:
    return load(Path(ROOT / "sites/lab.toml"))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run in which one scenario has begun."""
    run = Run.open(
        tmp_path / "run", site="lab", kind="rehearsal", seed=1, command="", versions={}, redactor=Redactor()
    )
    run.begin("features/x.feature", "y", [])
    yield run
    run.finish()

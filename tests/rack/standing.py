"""The rack that stands already, as tests on it need it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.cluster import Cluster
from cluster.site import load


@contextlib.contextmanager
def standing(site: Path) -> Iterator[Cluster]:
    """The cluster of a site file; the test fails where a node does not answer. The site's hands are commands
    (`python -m lab`): they find our interpreter, as in a run of features.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    with pytest.MonkeyPatch.context() as patch, Cluster(load(site)) as opened:
        patch.setenv("PATH", path)
        for node in opened.nodes.values():
            if not node.reachable(timeout=10):
                pytest.fail(
                    f"{node.name} does not answer: is the rack up, and this run inside its namespace?"
                )
        yield opened

"""A site file that extends another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster import site_file
from cluster.errors import SiteError
from cluster.site import Site, load

ROOT = Path(__file__).parents[2]
BELOW = 'name = "a"\n[relax]\nx = "1 s"\ny = "2 s"\n[[node]]\nname = "n1"\n'


def extended(folder: Path, text: str) -> dict[str, Any]:
    (folder / "below.toml").write_text(BELOW, encoding="utf-8")
    (folder / "above.toml").write_text(f'extends = "below.toml"\n{text}', encoding="utf-8")
    return site_file.read(folder / "above.toml")


def test_tables_are_merged_and_all_else_is_replaced(tmp_path: Path) -> None:
    data = extended(tmp_path, 'name = "b"\n[relax]\ny = "3 s"\n[[node]]\nname = "n2"\n[ha]\nz = 1\n')
    assert data == {
        "name": "b",
        "relax": {"x": "1 s", "y": "3 s"},
        "node": [{"name": "n2"}],
        "ha": {"z": 1},
    }


def test_the_lab_with_high_availability_is_the_lab_and_that() -> None:
    lab, ha = load(ROOT / "sites/lab.toml"), load(ROOT / "sites/lab-ha.toml")
    assert ha.ha is not None and ha.guests
    assert {name for name in Site.model_fields if getattr(ha, name) != getattr(lab, name)} == {
        *("ha", "guests", "relax"),
    }
    assert {**ha.relax, **lab.relax} == ha.relax


@pytest.mark.parametrize("name", ["'../lab.toml'", "''", "3", "['lab.toml']"])
def test_only_a_file_beside_it_can_be_extended(tmp_path: Path, name: str) -> None:
    (tmp_path / "above.toml").write_text(f"extends = {name}\n", encoding="utf-8")
    with pytest.raises(SiteError, match=r"extends: .*; expected the name of a file in the same folder"):
        site_file.read(tmp_path / "above.toml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "above.toml").write_text('extends = "other.toml"\n', encoding="utf-8")
    with pytest.raises(
        SiteError, match=r"other.toml: there is no such file; expected a site file: .*above.toml"
    ):
        site_file.read(tmp_path / "above.toml")


def test_a_file_does_not_extend_itself_or_a_chain(tmp_path: Path) -> None:
    (tmp_path / "above.toml").write_text('extends = "above.toml"\n', encoding="utf-8")
    with pytest.raises(SiteError, match=r"above.toml extends a file itself; expected one that stands alone"):
        site_file.read(tmp_path / "above.toml")

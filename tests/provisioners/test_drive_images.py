"""Ten kinds of occupied drive, inspected by the very program that runs on nodes: each is recognised, each
refused, and not a byte of it changes.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import RefusedError
from cluster.site import Site
from provisioners.ceph import observation
from provisioners.ceph.disks import Drive, judge, read_drives
from provisioners.ceph.missing import missing
from provisioners.converge import refuse_loss
from tests.provisioners.drive_images import KINDS, expand
from tests.provisioners.storages import nothing_stored, with_drive

PROGRAM = Path(observation.__file__).with_name("inspect_drives.py").read_text(encoding="utf-8")
MIB = 1 << 20


def inspect(*paths: Path) -> dict[str, Any]:
    """What the program prints for image files; it comes on standard input, as on a node."""
    done = subprocess.run(
        [sys.executable, "-", *map(str, paths)], input=PROGRAM, capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def one(path: Path) -> Drive:
    (drive,) = read_drives(json.dumps(inspect(path)))
    return drive


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", KINDS)
def test_an_occupied_drive_is_refused_and_untouched(name: str, tmp_path: Path, site: Site) -> None:
    image = expand(name, tmp_path / f"{name}.img")
    before = checksum(image), image.stat().st_mtime_ns
    image.chmod(0o444)
    drive = one(image)
    assert (checksum(image), image.stat().st_mtime_ns) == before

    verdict = judge(drive, "")
    word = KINDS[name][2]
    assert (verdict.kind, word in verdict.what) == ("occupied", True), verdict.what
    plan = missing(site, with_drive(nothing_stored(site), "node1", replace(drive, serial="DATA101")))
    with pytest.raises(RefusedError, match="DATA101") as refusal:
        refuse_loss(plan, frozenset())
    assert word in str(refusal.value)
    assert (checksum(image), image.stat().st_mtime_ns) == before


def blank(path: Path, size: int = 64 * MIB) -> Path:
    with path.open("wb") as image:
        image.truncate(size)
    return path


def test_a_blank_drive_is_taken(tmp_path: Path) -> None:
    drive = one(blank(tmp_path / "blank.img"))
    assert judge(drive, "").kind == "blank"
    assert drive.read >= 8 * MIB


@pytest.mark.parametrize("at", [0, 511, 4 * MIB - 1, 64 * MIB - 1, 60 * MIB], ids=str)
def test_one_byte_where_it_is_read_whole(tmp_path: Path, at: int) -> None:
    image = blank(tmp_path / "byte.img")
    with image.open("r+b") as handle:
        handle.seek(at)
        handle.write(b"x")
    drive = one(image)
    assert (drive.data_at, judge(drive, "").kind) == (at, "occupied")


def test_data_of_a_hundredth_of_a_drive_is_found_wherever_it_lies(tmp_path: Path) -> None:
    """Samples lie (size - 8 MiB) / 256 apart: anything longer than that cannot hide."""
    size = 512 * MIB
    for where in (5, 333, 500):
        image = blank(tmp_path / f"part{where}.img", size)
        with image.open("r+b") as handle:
            handle.seek(where * MIB)
            handle.write(b"\1" * (2 * MIB))
        assert judge(one(image), "").kind == "occupied", where


@pytest.mark.parametrize("size", [0, 1, 512, MIB, 8 * MIB, 8 * MIB + 1, 9 * MIB + 17])
def test_drives_of_every_size_can_be_inspected(tmp_path: Path, size: int) -> None:
    drive = one(blank(tmp_path / "odd.img", size))
    assert drive.data_at is None
    assert judge(drive, "").kind == ("blank" if size else "occupied")


def test_only_the_ordered_serial_numbers_are_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a node the program is given serial numbers, and looks for them in what lsblk lists."""
    image = blank(tmp_path / "mine.img")
    rows = [
        {"name": "a", "path": str(image), "type": "disk", "serial": "DATA101 ", "size": 64 * MIB},
        {"name": "b", "path": "/nowhere", "type": "disk", "serial": "BOOT11", "size": 1},
        {"name": "c", "path": "/gone", "type": "disk", "serial": "DATA102", "size": 5},
    ]
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "lsblk").write_text(f"#!/bin/sh\ncat <<'E'\n{json.dumps({'blockdevices': rows})}\nE\n")
    (fake / "lsblk").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:/usr/sbin:/usr/bin:/sbin:/bin")
    done = subprocess.run(
        [sys.executable, "-", "DATA101", "DATA102", "DATA999"],
        input=PROGRAM, capture_output=True, text=True, check=True,
    )  # fmt: skip
    mine, gone = read_drives(done.stdout)
    assert (mine.serial, judge(mine, "").kind) == ("DATA101", "blank")
    assert (gone.serial, gone.size, judge(gone, "").kind) == ("DATA102", 5, "occupied")


def test_the_script_for_nodes_is_sound_shell() -> None:
    text = observation.script(("DATA101", "it's"))
    assert "@" not in text.split("section drives")[1].split("<<")[0]
    for script in (text, observation.drives_script(("DATA101",))):
        done = subprocess.run(
            ["sh", "-n"], input=f"section() {{ :; }}\n{script}", capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")

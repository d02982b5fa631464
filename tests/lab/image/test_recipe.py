"""The image: its cache keys, and what the medium calls itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import rack
from lab.errors import LabError
from lab.image import medium, recipe, rootfs, store


def test_a_key_follows_name_content_mode_and_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recipe, "HERE", tmp_path / "image")
    file = tmp_path / "a"
    file.write_text("one")
    keys = {recipe.digest([file]), recipe.digest([file], "word")}
    file.write_text("two")
    keys.add(recipe.digest([file]))
    file.chmod(0o755)
    keys.add(recipe.digest([file]))
    assert recipe.digest([file]) in keys
    assert len(keys) == 4


def test_release_changes_both_keys() -> None:
    assert recipe.image_digest("9.0") != recipe.image_digest("9.1")
    assert recipe.medium_digest("9.0") != recipe.medium_digest("9.1")
    assert recipe.image_digest("9.0") == recipe.image_digest("9.0")


def test_the_ordered_release_is_known() -> None:
    release = rack.load().medium.release
    assert f"RELEASE='{release}'\n" in medium.info(release)


def test_the_release_file_of_a_node(tmp_path: Path) -> None:
    rootfs.write_release(tmp_path, "9.0")
    text = (tmp_path / "usr/share/rack/pve-release").read_text(encoding="utf-8")
    assert "PVE_MANAGER=9.0.3\n" in text
    with pytest.raises(LabError, match=r"medium\.release is '8\.4', expected one of 9\.0"):
        rootfs.write_release(tmp_path, "8.4")


def test_handing_out_writes_a_checksum_and_mends_a_damaged_copy(tmp_path: Path) -> None:
    iso, target = tmp_path / "cached.iso", tmp_path / "media/rack-installer.iso"
    iso.write_bytes(b"medium")
    store._hand_out(iso, target)
    line = target.with_name("rack-installer.iso.sha256").read_text(encoding="ascii")
    assert line.endswith("  rack-installer.iso\n")
    before = target.stat().st_mtime_ns
    store._hand_out(iso, target)
    assert target.stat().st_mtime_ns == before
    target.write_bytes(b"damaged")
    store._hand_out(iso, target)
    assert target.read_bytes() == b"medium"


def test_old_builds_and_leftovers_go(tmp_path: Path) -> None:
    for name in ("image-old", "image-new", "work-killed"):
        (tmp_path / name).mkdir()
    (tmp_path / "medium-old.iso").touch()
    (tmp_path / "medium-new.iso").touch()
    store._forget(tmp_path, keep=("image-new", "medium-new.iso"))
    with store._workplace(tmp_path) as work:
        assert work.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image-new", "medium-new.iso"]


def test_scripts_of_the_ram_disks_are_executable() -> None:
    for script in recipe.files_of(recipe.INITRD):
        assert script.stat().st_mode & 0o100, script


def test_a_medium_that_is_spoilt_on_purpose_is_not_handed_out_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    iso = tmp_path / "made.iso"
    iso.write_bytes(b"medium")
    monkeypatch.setattr(store, "_medium", lambda cache, release, progress: iso)
    cache, state = tmp_path / "cache", tmp_path / "state"
    cache.mkdir()
    target = store.build(cache, state, lambda text: None)
    checksum = target.with_name(f"{target.name}.sha256")
    right = checksum.read_text(encoding="ascii")
    book = state / "defects" / "wrong-medium-checksum.json"
    book.parent.mkdir()
    book.write_text("{}", encoding="ascii")
    checksum.write_text("spoilt", encoding="ascii")
    store.build(cache, state, lambda text: None)
    assert checksum.read_text(encoding="ascii") == "spoilt"
    book.unlink()
    store.build(cache, state, lambda text: None)
    assert checksum.read_text(encoding="ascii") == right

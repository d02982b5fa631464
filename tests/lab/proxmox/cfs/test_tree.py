"""What the tree allows, and that what it refuses changes nothing."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from lab.standins.proxmox.daemon.cfs import operations, rules, snapshot
from lab.standins.proxmox.daemon.cfs.operations import Operation
from lab.standins.proxmox.daemon.cfs.tree import FileSystemError, Tree


def do(tree: Tree, kind: str, path: str, **fields: Any) -> None:
    tree.apply(Operation(kind, path, 1_700_000_000, **fields), 1)


@pytest.fixture
def tree() -> Tree:
    tree = Tree()
    for path in ("nodes", "nodes/a", "nodes/a/lxc", "nodes/b", "nodes/b/lxc", "nodes/b/qemu-server"):
        do(tree, operations.MKDIR, path)
    do(tree, operations.CREATE, "f")
    do(tree, operations.WRITE, "f", data=b"content")
    return tree


@pytest.mark.parametrize(
    ("number", "kind", "path", "fields"),
    [
        (errno.EEXIST, operations.CREATE, "f", {}),
        (errno.EEXIST, operations.MKDIR, "nodes", {}),
        (errno.ENOENT, operations.MKDIR, "no/where", {}),
        (errno.ENOTDIR, operations.CREATE, "f/below", {}),
        (errno.EINVAL, operations.CREATE, "nodes/..", {}),
        (errno.ENOTEMPTY, operations.DELETE, "nodes", {}),
        (errno.ENOENT, operations.DELETE, "missing", {}),
        (errno.EISDIR, operations.DELETE, "nodes/a/lxc", {"folder": False}),
        (errno.ENOTDIR, operations.DELETE, "f", {"folder": True}),
        (errno.EACCES, operations.DELETE, "", {}),
        (errno.EISDIR, operations.WRITE, "nodes", {"data": b"x"}),
        (errno.EFBIG, operations.WRITE, "f", {"offset": rules.MAX_FILE_SIZE, "data": b"x"}),
        (errno.EFBIG, operations.TRUNCATE, "f", {"offset": rules.MAX_FILE_SIZE + 1}),
        (errno.ENOTEMPTY, operations.RENAME, "nodes", {"to": "other"}),
        (errno.ENOENT, operations.RENAME, "missing", {"to": "other"}),
        (errno.EISDIR, operations.RENAME, "f", {"to": "nodes/a/lxc"}),
        (errno.ENOTDIR, operations.RENAME, "nodes/a/lxc", {"to": "f"}),
        (errno.ENOTDIR, operations.RENAME, "nodes/a/lxc", {"to": "f/x"}),
        (errno.EINVAL, operations.UNLOCK, "f", {}),
        (errno.EINVAL, "chmod", "f", {}),
    ],
)
def test_what_is_refused_changes_nothing(
    tree: Tree, number: int, kind: str, path: str, fields: dict[str, Any]
) -> None:
    before = tree.digest()
    with pytest.raises(FileSystemError) as caught:
        do(tree, kind, path, **fields)
    assert caught.value.errno == number
    assert tree.digest() == before


def test_the_largest_file_is_one_mebibyte(tree: Tree) -> None:
    do(tree, operations.WRITE, "f", offset=rules.MAX_FILE_SIZE - 1, data=b"!")
    assert len(tree.get("f").data) == 1 << 20
    assert tree.get("f").data[:8] == b"content\0"


def test_the_whole_tree_has_a_limit(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_TOTAL_SIZE", 10)
    do(tree, operations.WRITE, "f", data=b"x" * 10)
    with pytest.raises(FileSystemError) as caught:
        do(tree, operations.WRITE, "f", offset=10, data=b"x")
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.setattr(rules, "MAX_ENTRIES", len(tree.entries))
    with pytest.raises(FileSystemError) as caught:
        do(tree, operations.CREATE, "one-more")
    assert caught.value.errno == errno.ENOSPC


def test_truncate_cuts_and_fills(tree: Tree) -> None:
    do(tree, operations.TRUNCATE, "f", offset=3)
    assert tree.get("f").data == b"con"
    do(tree, operations.TRUNCATE, "f", offset=5)
    assert tree.get("f").data == b"con\0\0"
    assert tree.size == 5


def test_rename_replaces_a_file(tree: Tree) -> None:
    do(tree, operations.CREATE, "g")
    do(tree, operations.RENAME, "f", to="g")
    assert tree.find("f") is None
    assert tree.get("g").data == b"content"
    assert tree.size == 7


def test_a_guest_stands_in_one_place_and_moves_by_rename(tree: Tree) -> None:
    do(tree, operations.CREATE, "nodes/a/lxc/100.conf")
    for path in ("nodes/b/lxc/100.conf", "nodes/b/qemu-server/100.conf"):
        with pytest.raises(FileSystemError) as caught:
            do(tree, operations.CREATE, path)
        assert caught.value.errno == errno.EEXIST
    do(tree, operations.RENAME, "nodes/a/lxc/100.conf", to="nodes/b/lxc/100.conf")
    assert tree.guests == {100: ("b", "lxc")}
    do(tree, operations.CREATE, "nodes/a/lxc/100.conf.tmp")
    with pytest.raises(FileSystemError):
        do(tree, operations.RENAME, "nodes/a/lxc/100.conf.tmp", to="nodes/a/lxc/100.conf")
    do(tree, operations.RENAME, "nodes/a/lxc/100.conf.tmp", to="nodes/b/lxc/100.conf")
    do(tree, operations.DELETE, "nodes/b/lxc/100.conf")
    assert tree.guests == {}


def test_a_snapshot_is_the_tree(tree: Tree) -> None:
    do(tree, operations.CREATE, "nodes/a/lxc/100.conf")
    do(tree, operations.WRITE, "f", data=bytes(range(256)) * 1000)
    packed = snapshot.dump(tree.entries.values())
    again = Tree(snapshot.load(b"".join(snapshot.chunks(packed))))
    assert again.digest() == tree.digest()
    assert (again.guests, again.size) == (tree.guests, tree.size)


@pytest.mark.parametrize("damage", [b"", b"\0" * 50])
def test_a_damaged_snapshot_is_refused(damage: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        snapshot.load(damage)


def test_entries_without_their_folder_are_refused(tree: Tree) -> None:
    lost = [entry for entry in tree.entries.values() if entry.name != "nodes"]
    with pytest.raises(ValueError, match="no folder"):
        Tree(lost)


def test_a_message_keeps_its_operation() -> None:
    sent = Operation(operations.WRITE, "a/ü", 5, offset=7, data=b"\0\xff")
    head, body = operations.unpack(operations.pack({"change": sent.fields()}, sent.data))
    assert operations.operation(head["change"], body) == sent


@pytest.mark.parametrize(
    ("path", "folder", "with_quorum", "without"),
    [
        ("storage.cfg", False, 0o100640, 0o100440),
        ("nodes", True, 0o40755, 0o40555),
        ("priv", True, 0o40700, 0o40500),
        ("priv/lock/x", True, 0o40700, 0o40500),
        ("priv/authkey.key", False, 0o100600, 0o100400),
        ("nodes/a/priv/x", False, 0o100600, 0o100400),
        ("private", False, 0o100640, 0o100440),
        ("nodes/a/b/priv", True, 0o40755, 0o40555),
    ],
)
def test_modes(path: str, folder: bool, with_quorum: int, without: int) -> None:
    assert rules.mode(path, folder=folder, quorate=True) == with_quorum
    assert rules.mode(path, folder=folder, quorate=False) == without

"""The content of /etc/pve in memory: a pure, deterministic state machine.

The same operations in the same order give the same tree, inode numbers and versions on every member.
A refused operation (FileSystemError) changes nothing and does not raise the version.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from . import operations, rules
from .operations import Operation

ROOT = 0


class FileSystemError(Exception):
    """A refused operation; `errno` is what the caller of the system call gets."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, str(number)))
        self.errno = number


@dataclass(frozen=True)
class Entry:
    """One file or folder; `inode` is the version of the tree that made it, mtime in seconds."""

    inode: int
    parent: int
    version: int
    writer: int
    mtime: int
    folder: bool
    name: str
    data: bytes = b""


@dataclass
class Changes:
    """What one operation changed, for the database and the views."""

    stored: dict[int, Entry] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)


class Tree:
    """Entries by inode and by (parent, name); the root's version is the tree's version."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries: dict[int, Entry] = {}
        self.children: dict[int, dict[str, int]] = {}
        self.guests: dict[int, tuple[str, str]] = {}
        self.size = 0
        self.load(entries)

    def load(self, entries: Iterable[Entry]) -> None:
        """Replace everything. Raises ValueError where an entry has no parent."""
        by_inode = {entry.inode: entry for entry in entries}
        by_inode.setdefault(ROOT, Entry(ROOT, ROOT, 0, 0, 0, True, ""))
        children: dict[int, dict[str, int]] = {e.inode: {} for e in by_inode.values() if e.folder}
        for entry in by_inode.values():
            if entry.inode != ROOT:
                if entry.parent not in children:
                    raise ValueError(f"entry {entry.inode} ({entry.name!r}) has no folder {entry.parent}")
                children[entry.parent][entry.name] = entry.inode
        self.entries, self.children = by_inode, children
        self.size = sum(len(entry.data) for entry in by_inode.values())
        self.guests = {}
        for path, _ in self.walk():
            self._note_guest(path)

    @property
    def version(self) -> int:
        return self.entries[ROOT].version

    @property
    def changed(self) -> int:
        """When the tree was last changed, in the writer's seconds."""
        return self.entries[ROOT].mtime

    def find(self, path: str) -> Entry | None:
        inode = ROOT
        for name in path.split("/") if path else ():
            below = self.children.get(inode)
            if below is None or name not in below:
                return None
            inode = below[name]
        return self.entries[inode]

    def get(self, path: str) -> Entry:
        """The entry of a path; FileSystemError ENOENT where there is none."""
        entry = self.find(path)
        if entry is None:
            raise FileSystemError(errno.ENOENT)
        return entry

    def path(self, inode: int) -> str:
        """Where an entry is now; FileSystemError ENOENT when it is gone."""
        names: list[str] = []
        while inode != ROOT:
            entry = self.entries.get(inode)
            if entry is None:
                raise FileSystemError(errno.ENOENT)
            names.append(entry.name)
            inode = entry.parent
        return "/".join(reversed(names))

    def names(self, path: str) -> list[str]:
        """What is in a folder."""
        entry = self.get(path)
        if not entry.folder:
            raise FileSystemError(errno.ENOTDIR)
        return list(self.children[entry.inode])

    def walk(self, path: str = "", inode: int = ROOT) -> Iterator[tuple[str, Entry]]:
        """Every entry but the root, with its path, folders before what is in them."""
        for name, child in self.children.get(inode, {}).items():
            below = f"{path}/{name}" if path else name
            yield below, self.entries[child]
            yield from self.walk(below, child)

    def digest(self) -> str:
        """One figure for the whole content; equal on members that hold the same."""
        total = hashlib.sha256()
        for inode in sorted(self.entries):
            e = self.entries[inode]
            head = (e.inode, e.parent, e.version, e.writer, e.mtime, e.folder, e.name, len(e.data))
            total.update(repr(head).encode())
            total.update(e.data)
        return total.hexdigest()

    def apply(self, operation: Operation, writer: int) -> Changes:
        """Carry out one change. Raises FileSystemError, and then nothing was changed."""
        changes = Changes()
        action: Callable[[Operation, int, Changes], None] | None = {
            operations.MKDIR: self._make,
            operations.CREATE: self._make,
            operations.WRITE: self._write,
            operations.TRUNCATE: self._write,
            operations.DELETE: self._delete,
            operations.RENAME: self._rename,
            operations.MTIME: self._touch,
            operations.UNLOCK: self._unlock,
        }.get(operation.kind)
        if action is None:
            raise FileSystemError(errno.EINVAL)
        action(operation, writer, changes)
        root = self.entries[ROOT]
        self._store(replace(root, version=root.version + 1, writer=writer, mtime=operation.time), changes)
        return changes

    def _make(self, operation: Operation, writer: int, changes: Changes) -> None:
        parent, name = rules.split(operation.path)
        folder = self.get(parent)
        if not folder.folder:
            raise FileSystemError(errno.ENOTDIR)
        if not name or name in (".", ".."):
            raise FileSystemError(errno.EINVAL)
        if name in self.children[folder.inode]:
            raise FileSystemError(errno.EEXIST)
        if len(self.entries) >= rules.MAX_ENTRIES:
            raise FileSystemError(errno.ENOSPC)
        self._refuse_second_guest(operation.path)
        version = self.version + 1
        is_folder = operation.kind == operations.MKDIR
        made = Entry(version, folder.inode, version, writer, operation.time, is_folder, name)
        self._store(made, changes)
        self.children[folder.inode][name] = made.inode
        if made.folder:
            self.children[made.inode] = {}
        self._touch_parent(folder, version, writer, operation.time, changes)
        self._note_guest(operation.path)
        changes.paths.add(operation.path)

    def _write(self, operation: Operation, writer: int, changes: Changes) -> None:
        entry = self.get(operation.path)
        if entry.folder:
            raise FileSystemError(errno.EISDIR)
        offset = operation.offset
        end = offset + len(operation.data)
        if offset < 0 or end > rules.MAX_FILE_SIZE:
            raise FileSystemError(errno.EFBIG)
        old = entry.data
        padded = old[:offset] + b"\0" * (offset - len(old))
        data = padded if operation.kind == operations.TRUNCATE else padded + operation.data + old[end:]
        if self.size - len(old) + len(data) > rules.MAX_TOTAL_SIZE:
            raise FileSystemError(errno.ENOSPC)
        changed = replace(entry, version=self.version + 1, writer=writer, mtime=operation.time, data=data)
        self._store(changed, changes)
        changes.paths.add(operation.path)

    def _delete(self, operation: Operation, writer: int, changes: Changes) -> None:
        entry = self.get(operation.path)
        if entry.inode == ROOT:
            raise FileSystemError(errno.EACCES)
        if operation.folder is True and not entry.folder:
            raise FileSystemError(errno.ENOTDIR)
        if operation.folder is False and entry.folder:
            raise FileSystemError(errno.EISDIR)
        if self.children.get(entry.inode):
            raise FileSystemError(errno.ENOTEMPTY)
        self._drop(operation.path, entry, changes)
        parent = self.entries[entry.parent]
        self._touch_parent(parent, self.version + 1, writer, operation.time, changes)

    def _rename(self, operation: Operation, writer: int, changes: Changes) -> None:
        entry = self.get(operation.path)
        parent, name = rules.split(operation.to)
        folder = self.get(parent)
        if not folder.folder:
            raise FileSystemError(errno.ENOTDIR)
        if entry.inode == ROOT or not name or name in (".", ".."):
            raise FileSystemError(errno.EINVAL)
        if self.children.get(entry.inode):
            raise FileSystemError(errno.ENOTEMPTY)
        target = self.find(operation.to)
        if target is not None and target.inode == entry.inode:
            return
        self._refuse_second_guest(operation.to, moved=operation.path)
        if target is not None:
            if target.folder != entry.folder:
                raise FileSystemError(errno.EISDIR if target.folder else errno.ENOTDIR)
            if self.children.get(target.inode):
                raise FileSystemError(errno.ENOTEMPTY)
            self._drop(operation.to, target, changes)
        version = self.version + 1
        del self.children[entry.parent][entry.name]
        self._forget_guest(operation.path)
        moved = replace(
            entry, parent=folder.inode, name=name, version=version, writer=writer, mtime=operation.time
        )
        self._store(moved, changes)
        self.children[folder.inode][name] = moved.inode
        self._note_guest(operation.to)
        for inode in {entry.parent, folder.inode}:
            self._touch_parent(self.entries[inode], version, writer, operation.time, changes)
        changes.paths.update((operation.path, operation.to))

    def _touch(self, operation: Operation, writer: int, changes: Changes) -> None:
        entry = self.get(operation.path)
        self._store(replace(entry, version=self.version + 1, writer=writer, mtime=operation.time), changes)
        changes.paths.add(operation.path)

    def _unlock(self, operation: Operation, writer: int, changes: Changes) -> None:
        entry = self.get(operation.path)
        if not (rules.lock(operation.path) and entry.folder):
            raise FileSystemError(errno.EINVAL)
        # Whoever refreshed or took the lock anew meanwhile keeps it.
        if entry.version != operation.version:
            raise FileSystemError(errno.EBUSY)
        self._delete(replace(operation, folder=True), writer, changes)

    def _store(self, entry: Entry, changes: Changes) -> None:
        old = self.entries.get(entry.inode)
        self.size += len(entry.data) - (len(old.data) if old else 0)
        self.entries[entry.inode] = entry
        changes.stored[entry.inode] = entry

    def _drop(self, path: str, entry: Entry, changes: Changes) -> None:
        del self.children[entry.parent][entry.name]
        self.children.pop(entry.inode, None)
        del self.entries[entry.inode]
        self.size -= len(entry.data)
        changes.removed.add(entry.inode)
        changes.paths.add(path)
        self._forget_guest(path)

    def _touch_parent(self, parent: Entry, version: int, writer: int, time: int, changes: Changes) -> None:
        if parent.inode != ROOT:
            self._store(replace(parent, version=version, writer=writer, mtime=time), changes)

    def _refuse_second_guest(self, path: str, moved: str = "") -> None:
        """A VMID stands in one file of the cluster only: that file's place says whose guest it is."""
        guest = rules.guest(path)
        if guest is None:
            return
        node, kind, vmid = guest
        was = rules.guest(moved) if moved else None
        if vmid in self.guests and self.guests[vmid] != (node, kind) and not (was and was[2] == vmid):
            raise FileSystemError(errno.EEXIST)

    def _note_guest(self, path: str) -> None:
        guest = rules.guest(path)
        if guest is not None:
            self.guests[guest[2]] = (guest[0], guest[1])

    def _forget_guest(self, path: str) -> None:
        guest = rules.guest(path)
        if guest is not None and self.guests.get(guest[2]) == (guest[0], guest[1]):
            del self.guests[guest[2]]

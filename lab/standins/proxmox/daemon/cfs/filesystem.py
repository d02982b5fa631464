"""The FUSE side: system calls on /etc/pve become reads of the tree or changes through the service."""

from __future__ import annotations

import errno
import grp
import itertools
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import operations, rules
from .operations import Operation
from .service import Service
from .tree import Entry, FileSystemError
from .views import Views

BLOCK = 4096
_WRITING = os.O_WRONLY | os.O_RDWR


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@dataclass
class _Handle:
    """An open file or folder; `made` is the content of a made file."""

    path: str
    entry: Entry
    made: bytes | None = None


class FileSystem:
    """What fusepy calls. What has no method here (symlink, link, xattr) is ENOSYS."""

    use_ns = True
    # Open files are known by their handle: one that is removed or replaced meanwhile can be read to its end.
    flag_nopath = True
    flag_nullpath_ok = True

    def __init__(self, service: Service, views: Views, mounted: Callable[[], None]) -> None:
        self._service = service
        self._store = service.store
        self._views = views
        self._mounted = mounted
        self._numbers = itertools.count(1)
        self._handles: dict[int, _Handle] = {}
        mine = f"nodes/{service.node}"
        self._links = {
            "local": mine,
            **{name: f"{mine}/{name}" for name in ("lxc", "openvz", "qemu-server")},
        }
        try:
            self._group = grp.getgrnam("www-data").gr_gid
        except KeyError:
            self._group = 0

    def __call__(self, name: str, *arguments: Any) -> Any:
        if name == "init":
            return self._mounted()
        action = getattr(self, name, None)
        return action(*arguments) if action else 0

    def init(self, path: str) -> None:
        """Called through __call__ when the kernel has mounted us."""

    def getattr(self, path: str | None, handle: int | None = None) -> dict[str, int]:
        if path is None:
            opened = self._handle(handle)
            if opened.made is not None:
                return self._made(len(opened.made))
            return self._attributes(opened.path, opened.entry)
        path = path[1:]
        if path in self._links:
            size = len(self._links[path])
            return self._common(self._views.started) | {"st_mode": stat.S_IFLNK | 0o777, "st_size": size}
        if path in self._views.files:
            return self._made(len(self._views.files[path]().encode()))
        return self._attributes(path, self._find(path))

    def _common(self, at: float) -> dict[str, int]:
        times = dict.fromkeys(("st_mtime", "st_ctime", "st_atime"), int(at) * 10**9)
        return {"st_uid": 0, "st_gid": self._group, "st_nlink": 1, **times}

    def _made(self, size: int) -> dict[str, int]:
        return self._common(time.time()) | {"st_mode": stat.S_IFREG | 0o440, "st_size": size}

    def _attributes(self, path: str, entry: Entry) -> dict[str, int]:
        size = len(entry.data)
        mode = rules.mode(path, folder=entry.folder, quorate=self._service.replica.quorate)
        counts = {"st_nlink": 2 if entry.folder else 1, "st_size": size, "st_blocks": -(-size // 512)}
        return self._common(entry.mtime) | {"st_mode": mode} | counts

    def opendir(self, path: str) -> int:
        return self._opened(path[1:])

    def readdir(self, _path: str | None, handle: int) -> list[str]:
        opened = self._handle(handle)
        with self._store.lock:
            names = list(self._store.tree.children.get(opened.entry.inode, ()))
        made = [] if opened.entry.inode else [*self._links, *self._views.files]
        return [".", "..", *names, *made]

    def releasedir(self, path: str | None, handle: int) -> int:
        return self.release(path, handle)

    def readlink(self, path: str) -> str:
        try:
            return self._links[path[1:]]
        except KeyError:
            raise _error(errno.EINVAL) from None

    def open(self, path: str, flags: int) -> int:
        if flags & _WRITING:
            self._refuse_made(path[1:])
            if not self._service.writable:
                raise _error(errno.EACCES)
        return self._opened(path[1:])

    def release(self, _path: str | None, handle: int) -> int:
        self._handles.pop(handle, None)
        return 0

    def read(self, _path: str | None, size: int, offset: int, handle: int) -> bytes:
        opened = self._handle(handle)
        data = opened.entry.data if opened.made is None else opened.made
        return data[offset : offset + size]

    def create(self, path: str, _mode: int, _info: Any = None) -> int:
        self._change(operations.CREATE, path)
        return self._opened(path[1:])

    def mknod(self, path: str, mode: int, _device: int) -> int:
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise _error(errno.EPERM)
        self._change(operations.CREATE, path)
        return 0

    def write(self, _path: str | None, data: bytes, offset: int, handle: int) -> int:
        if offset + len(data) > rules.MAX_FILE_SIZE:
            raise _error(errno.EFBIG)
        self._change(operations.WRITE, self._place(handle), offset=offset, data=data)
        return len(data)

    def truncate(self, path: str | None, length: int, handle: int | None = None) -> int:
        if length > rules.MAX_FILE_SIZE:
            raise _error(errno.EFBIG)
        self._change(operations.TRUNCATE, self._place(handle) if path is None else path, offset=length)
        return 0

    def mkdir(self, path: str, _mode: int) -> int:
        self._change(operations.MKDIR, path)
        return 0

    def unlink(self, path: str) -> int:
        self._change(operations.DELETE, path, folder=False)
        return 0

    def rmdir(self, path: str) -> int:
        self._change(operations.DELETE, path, folder=True)
        return 0

    def rename(self, old: str, new: str) -> int:
        self._refuse_made(new[1:])
        self._change(operations.RENAME, old, to=new[1:])
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        modified = times[1] // 10**9 if times else int(time.time())
        # The kernel answers a mkdir of a name that is there by itself: whoever wants an old lock must ask so.
        if modified == 0 and rules.lock(path[1:]):
            self._change(operations.UNLOCK_REQUEST, path)
        else:
            self._change(operations.MTIME, path, when=modified)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        with self._store.lock:
            entry = self._store.tree.find(path[1:])
        if entry is None or not rules.allowed_mode(path[1:], mode, folder=entry.folder):
            raise _error(errno.EPERM)
        return 0

    def chown(self, _path: str, user: int, group: int) -> int:
        # -1 (leave as it is) arrives unsigned.
        keep = (-1, 0xFFFFFFFF)
        if user not in (0, *keep) or group not in (self._group, *keep):
            raise _error(errno.EPERM)
        return 0

    def statfs(self, _path: str) -> dict[str, int]:
        with self._store.lock:
            used, entries = self._store.tree.size, len(self._store.tree.entries)
        total = rules.MAX_TOTAL_SIZE // BLOCK
        free = total - -(-used // BLOCK)
        left = rules.MAX_ENTRIES - entries
        return {
            "f_bsize": BLOCK,
            "f_frsize": BLOCK,
            "f_blocks": total,
            "f_bfree": free,
            "f_bavail": free,
            "f_files": rules.MAX_ENTRIES,
            "f_ffree": left,
            "f_favail": left,
            "f_namemax": 256,
        }

    def _find(self, path: str) -> Entry:
        with self._store.lock:
            entry = self._store.tree.find(path)
        if entry is None:
            raise _error(errno.ENOENT)
        return entry

    def _opened(self, path: str) -> int:
        if path in self._views.files:
            # One moment's content for all reads of it, however short they are.
            opened = _Handle(path, self._find(""), self._views.files[path]().encode())
        else:
            opened = _Handle(path, self._find(path))
        number = next(self._numbers)
        self._handles[number] = opened
        return number

    def _handle(self, number: int | None) -> _Handle:
        """The open file with its present content, or the last where it was removed or replaced."""
        opened = self._handles.get(number or 0)
        if opened is None:
            raise _error(errno.EBADF)
        with self._store.lock:
            opened.entry = self._store.tree.entries.get(opened.entry.inode, opened.entry)
        return opened

    def _place(self, number: int | None) -> str:
        """Where an open file stands now, with a leading slash; it may have been renamed."""
        inode = self._handle(number).entry.inode
        with self._store.lock:
            try:
                return "/" + self._store.tree.path(inode)
            except FileSystemError as error:
                raise _error(error.errno) from error

    def _refuse_made(self, path: str) -> None:
        if path in self._links or path in self._views.files:
            raise _error(errno.EACCES)

    def _change(self, kind: str, path: str, *, when: int | None = None, **fields: Any) -> None:
        path = path[1:]
        self._refuse_made(path)
        self._service.change(Operation(kind, path, int(time.time()) if when is None else when, **fields))

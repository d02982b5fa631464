"""The FUSE side: system calls on /etc/pve become reads of the tree or changes through the service."""

from __future__ import annotations

import errno
import grp
import os
import stat
import time
from collections.abc import Callable
from typing import Any

from . import operations, rules
from .operations import Operation
from .service import Service
from .views import Views

BLOCK = 4096
_WRITING = os.O_WRONLY | os.O_RDWR


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class FileSystem:
    """What fusepy calls. What has no method here (symlink, link, xattr) is ENOSYS."""

    use_ns = True

    def __init__(self, service: Service, views: Views, mounted: Callable[[], None]) -> None:
        self._service = service
        self._store = service.store
        self._views = views
        self._mounted = mounted
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

    def getattr(self, path: str, _handle: int | None = None) -> dict[str, int]:
        path = path[1:]
        common = {"st_uid": 0, "st_gid": self._group}
        if path in self._links:
            now = self._views.started * 10**9
            kind = {"st_mode": stat.S_IFLNK | 0o777, "st_nlink": 1, "st_size": len(self._links[path])}
            return common | kind | {"st_mtime": now, "st_ctime": now, "st_atime": now}
        if path in self._views.files:
            now = time.time_ns()
            kind = {"st_mode": stat.S_IFREG | 0o440, "st_nlink": 1}
            kind["st_size"] = len(self._views.files[path]().encode())
            return common | kind | {"st_mtime": now, "st_ctime": now, "st_atime": now}
        with self._store.lock:
            entry = self._store.tree.find(path)
        if entry is None:
            raise _error(errno.ENOENT)
        size = len(entry.data)
        mode = rules.mode(path, folder=entry.folder, quorate=self._service.replica.quorate)
        at = entry.mtime * 10**9
        times = {"st_mtime": at, "st_ctime": at, "st_atime": at}
        counts = {"st_nlink": 2 if entry.folder else 1, "st_size": size, "st_blocks": -(-size // 512)}
        return common | {"st_mode": mode} | times | counts

    def readdir(self, path: str, _handle: int) -> list[str]:
        path = path[1:]
        with self._store.lock:
            entry = self._store.tree.find(path)
            if entry is None:
                raise _error(errno.ENOENT)
            names = list(self._store.tree.children.get(entry.inode, ()))
        made = [] if path else [*self._links, *self._views.files]
        return [".", "..", *names, *made]

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
        return 0

    def read(self, path: str, size: int, offset: int, _handle: int) -> bytes:
        path = path[1:]
        if path in self._views.files:
            return self._views.files[path]().encode()[offset : offset + size]
        with self._store.lock:
            entry = self._store.tree.find(path)
        if entry is None:
            raise _error(errno.ENOENT)
        return entry.data[offset : offset + size]

    def create(self, path: str, _mode: int, _info: Any = None) -> int:
        self._change(operations.CREATE, path)
        return 0

    def mknod(self, path: str, mode: int, _device: int) -> int:
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise _error(errno.EPERM)
        return self.create(path, mode)

    def write(self, path: str, data: bytes, offset: int, _handle: int) -> int:
        if offset + len(data) > rules.MAX_FILE_SIZE:
            raise _error(errno.EFBIG)
        self._change(operations.WRITE, path, offset=offset, data=data)
        return len(data)

    def truncate(self, path: str, length: int, _handle: int | None = None) -> int:
        if length > rules.MAX_FILE_SIZE:
            raise _error(errno.EFBIG)
        self._change(operations.TRUNCATE, path, offset=length)
        return 0

    def mkdir(self, path: str, _mode: int) -> int:
        try:
            self._change(operations.MKDIR, path)
        except FileExistsError:
            self._ask_for_expiry(path)
            raise
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

    def _refuse_made(self, path: str) -> None:
        if path in self._links or path in self._views.files:
            raise _error(errno.EACCES)

    def _change(self, kind: str, path: str, *, when: int | None = None, **fields: Any) -> None:
        path = path[1:]
        self._refuse_made(path)
        self._service.change(Operation(kind, path, int(time.time()) if when is None else when, **fields))

    def _ask_for_expiry(self, path: str) -> None:
        """A taken lock whose holder is gone would block for ever: whoever wants it asks."""
        if rules.lock(path[1:]):
            self._change(operations.UNLOCK_REQUEST, path)

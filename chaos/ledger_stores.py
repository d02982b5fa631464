"""What the ledger's agent writes to: RBD images, files in CephFS, files in any mounted file system.

It runs on nodes: standard library, and for a target the bindings that Debian and Proxmox VE have beside
ceph-common (python3-rbd, python3-rados, python3-cephfs), loaded when a target needs them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path
from typing import Any

from chaos.ledger_record import Layout

PREFIX = "rackproof-ledger-"
LAYERING = 1  # the only RBD feature: no lock that a dead writer holds, no object map that hides a loss
_FLAGS = {"new": os.O_RDWR | os.O_CREAT | os.O_EXCL, "again": os.O_RDWR, "read": os.O_RDONLY}


class FileStore:
    """A file in a mounted file system; every write is followed by fsync.

    As all stores: `connect`, then `open` "new", "again" or to "read"; `close` ends what there is of both.
    Errors are whatever the library raises.
    """

    def __init__(self, place: str, name: str, layout: Layout, _: dict[str, Any]) -> None:
        self.folder, self.name, self.layout = Path(place), name, layout
        self.path = self.folder / name
        self.fd: int | None = None

    def connect(self) -> None:
        if not self.folder.is_dir():
            raise FileNotFoundError(2, f"there is no folder {self.folder}")

    def open(self, how: str) -> None:
        self.fd = os.open(self.path, _FLAGS[how], 0o600)
        if how == "new":
            os.ftruncate(self.fd, self.layout.size)

    def write(self, offset: int, data: bytes) -> None:
        assert self.fd is not None
        if os.pwrite(self.fd, data, offset) != len(data):
            raise OSError(5, "short write")
        os.fsync(self.fd)

    def read(self, offset: int, length: int) -> bytes:
        assert self.fd is not None
        return os.pread(self.fd, length, offset)

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)

    def names(self) -> list[str]:
        return [entry.name for entry in self.folder.glob(f"{PREFIX}*")]

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)


class RbdStore:
    """An RBD image without the client's cache: a write that returns lies on all replicas."""

    def __init__(self, place: str, name: str, layout: Layout, ceph: dict[str, Any]) -> None:
        self.pool, self.name, self.layout, self.ceph = place, name, layout, ceph
        self.rbd: Any = importlib.import_module("rbd")
        self.rados: Any = importlib.import_module("rados")
        self.image: Any = None

    def connect(self) -> None:
        self.cluster = self.rados.Rados(conffile=self.ceph["conf"], name=self.ceph["name"])
        for key, value in (("rbd_cache", "false"), ("client_mount_timeout", "30")):
            self.cluster.conf_set(key, value)
        self.cluster.connect(timeout=30)
        self.io = self.cluster.open_ioctx(self.pool)

    def open(self, how: str) -> None:
        if how == "new":
            order = self.layout.object_size.bit_length() - 1
            self.rbd.RBD().create(self.io, self.name, self.layout.size, order, False, LAYERING)
        self.image = self.rbd.Image(self.io, self.name, read_only=how == "read")

    def write(self, offset: int, data: bytes) -> None:
        if self.image.write(data, offset) != len(data):
            raise OSError(5, "short write")
        self.image.flush()

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.image.read(offset, length))

    def close(self) -> None:
        if self.image is not None:
            self.image.close()
        self.io.close()
        self.cluster.shutdown()

    def names(self) -> list[str]:
        return [name for name in self.rbd.RBD().list(self.io) if name.startswith(PREFIX)]

    def remove(self, name: str) -> None:
        with contextlib.suppress(self.rbd.ImageNotFound):
            self.rbd.RBD().remove(self.io, name)


class CephfsStore:
    """A file in a CephFS through libcephfs without its object cache; every write is followed by fsync."""

    def __init__(self, place: str, name: str, layout: Layout, ceph: dict[str, Any]) -> None:
        self.filesystem, self.name, self.layout, self.ceph = place, name, layout, ceph
        self.cephfs: Any = importlib.import_module("cephfs")
        self.fd: int | None = None

    def connect(self) -> None:
        user = self.ceph["name"].removeprefix("client.")
        self.fs = self.cephfs.LibCephFS(conffile=self.ceph["conf"], auth_id=user)
        for key, value in (("client_oc", "false"), ("client_mount_timeout", "60")):
            self.fs.conf_set(key, value)
        self.fs.mount(b"/", self.filesystem)

    def open(self, how: str) -> None:
        path = f"/{self.name}"
        self.fd = self.fs.open(path, _FLAGS[how], 0o600)
        if how == "new":
            size = self.layout.object_size
            shape = f"stripe_unit={size} stripe_count=1 object_size={size}".encode()
            self.fs.setxattr(path, "ceph.file.layout", shape, 0)
            self.fs.ftruncate(self.fd, self.layout.size)

    def write(self, offset: int, data: bytes) -> None:
        if self.fs.write(self.fd, data, offset) != len(data):
            raise OSError(5, "short write")
        self.fs.fsync(self.fd, 0)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.fs.read(self.fd, offset, length))

    def close(self) -> None:
        if self.fd is not None:
            self.fs.close(self.fd)
        self.fs.unmount()  # else others wait for what a client holds that is gone, for a minute

    def names(self) -> list[str]:
        with self.fs.opendir(b"/") as folder:
            found = [entry.d_name.decode("utf-8", "replace") for entry in iter(folder.readdir, None)]
        return [name for name in found if name.startswith(PREFIX)]

    def remove(self, name: str) -> None:
        with contextlib.suppress(self.cephfs.ObjectNotFound):
            self.fs.unlink(f"/{name}")


STORES: dict[str, Any] = {"file": FileStore, "rbd": RbdStore, "cephfs": CephfsStore}

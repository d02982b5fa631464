"""librbd and librados without a cluster: images are entries of one dictionary, `pool/name` -> bytes."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from . import contract_ceph


class Error(Exception):
    """What librbd raises."""


class ImageNotFound(Error):  # noqa: N818 - librbd's own name
    """There is no such image."""


class Context:
    """An open pool."""

    def __init__(self, pool: str) -> None:
        self.pool = pool

    def close(self) -> None:
        pass


class Rados(contract_ceph.FakeRados):
    """A connection that opens pools."""

    def open_ioctx(self, pool: str) -> Context:
        return Context(pool)


class Image:
    """An image that was opened to be looked at."""

    def __init__(self, context: Context, name: str, read_only: bool) -> None:
        assert read_only
        self._size = RBD.images[f"{context.pool}/{name}"]

    def __enter__(self) -> Image:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def size(self) -> int:
        return self._size


class RBD:
    """What can be done with the images of a pool."""

    images: dict[str, int] = {}  # noqa: RUF012 - one cluster for all

    def list(self, context: Context) -> list[str]:
        return [key.partition("/")[2] for key in self.images if key.startswith(f"{context.pool}/")]

    def create(self, context: Context, name: str, size: int, old_format: bool, **_: Any) -> None:
        assert not old_format
        self.images[f"{context.pool}/{name}"] = size

    def remove(self, context: Context, name: str) -> None:
        if self.images.pop(f"{context.pool}/{name}", None) is None:
            raise ImageNotFound(name)


def install(images: dict[str, int]) -> None:
    """Be the modules `rados` and `rbd` from now on."""
    RBD.images = images
    rados = contract_ceph.module()
    rados.Rados = Rados  # type: ignore[attr-defined]
    rbd = ModuleType("rbd")
    for member in (RBD, Image, Error, ImageNotFound):
        setattr(rbd, member.__name__, member)
    sys.modules["rados"], sys.modules["rbd"] = rados, rbd

"""The node image and the installer medium of the rack."""

from __future__ import annotations

from lab.image.store import build, kernel, probe_initrd

__all__ = ["build", "kernel", "probe_initrd"]

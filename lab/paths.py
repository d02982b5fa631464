"""Where the rack keeps its files: one state folder per checkout, one cache per user."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class State:
    """The folder of one rack. Every property is a path below `root`; `create()` makes the folders."""

    root: Path

    @property
    def logs(self) -> Path:
        """One log file per daemon, one serial log per server."""
        return self.root / "log"

    @property
    def pids(self) -> Path:
        return self.root / "pids"

    @property
    def tls(self) -> Path:
        """The rack's CA (`ca.pem`) and one certificate and key per endpoint."""
        return self.root / "tls"

    @property
    def secrets(self) -> Path:
        """Passwords and private keys that the rack made up; mode 0700."""
        return self.root / "secrets"

    @property
    def disks(self) -> Path:
        return self.root / "disks"

    @property
    def nvram(self) -> Path:
        return self.root / "nvram"

    @property
    def media(self) -> Path:
        """The installer medium."""
        return self.root / "media"

    @property
    def saves(self) -> Path:
        """One folder per `lab save NAME`."""
        return self.root / "saves"

    @property
    def overlay(self) -> Path:
        """What the private mount namespace shows at /run, /etc/libvirt, /var/lib/libvirt and so on."""
        return self.root / "overlay"

    @property
    def bmc(self) -> Path:
        """Configuration and state of the BMCs."""
        return self.root / "bmc"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def services(self) -> Path:
        """Working folders of the service modules, one each: `services / name`."""
        return self.root / "services"

    @property
    def defects(self) -> Path:
        """What `lab break` has broken and how to mend it."""
        return self.root / "defects"

    def create(self) -> None:
        """Make every folder; private ones with mode 0700."""
        for folder in (
            self.logs,
            self.pids,
            self.disks,
            self.nvram,
            self.media,
            self.saves,
            self.overlay,
            self.bmc,
            self.tmp,
            self.services,
            self.defects,
        ):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.tls, self.secrets):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)


def state_folder() -> State:
    """The state folder: `RACKPROOF_STATE`, else `.rack` in the repository."""
    named = os.environ.get("RACKPROOF_STATE", "")
    return State(Path(named).resolve() if named else REPOSITORY / ".rack")


def cache_folder() -> Path:
    """The user's cache for built images: `$XDG_CACHE_HOME/rackproof`, else `~/.cache/rackproof`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "rackproof"

"""What the services share: leases and marks of departure, in the cluster file system.

A change of /etc/pve is applied on all members in one order, and none is possible without quorum: the very
write that goes before an order proves that this node has quorum. Proxmox VE's own locks (priv/lock, ha/) are
never touched.

    PEER.GENERATION/state   a lease; mkdir of the next generation is won by one node in the whole cluster
    NODE.left               a node that went in good order

Taking a lease over cannot cross with a late word of its last holder: the taker makes its folder and then
reads the old record, the holder writes the old record and then looks for a newer folder. In one order for
all, one of them sees the other.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, replace
from pathlib import Path

from .model import Lease, Phase

FOLDER = "rackproof/fencing"
_SIZE = 512


class SharedError(Exception):
    """The cluster file system refused, or holds what is not understood; one sentence."""


class Shared:
    """The folder below the cluster file system at `mount`."""

    def __init__(self, mount: Path) -> None:
        self._mount = mount
        self._folder = mount / FOLDER

    # -- leases

    def lease(self, peer: str) -> Lease | None:
        """The lease on `peer` that counts, None where there never was one. Raises SharedError."""
        generations = self._generations(peer)
        if not generations:
            return None
        states = (self._state(peer, generation) for generation in generations)
        newest = next((state for state in states if state is not None), None)
        if newest is not None and newest.generation == generations[0]:
            return newest
        # Its taker died between the folder and the record: nobody is known to hold it.
        unknown = Lease(generations[0], holder="", node=0, beat=-1)
        return replace(unknown, phase=newest.phase, cycles=newest.cycles) if newest else unknown

    def take(self, peer: str, before: Lease | None, lease: Lease) -> None:
        """Win `lease`, of the generation after `before`'s. Raises SharedError where another was quicker."""
        self._mounted()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._place(peer, lease.generation).mkdir()
        except FileExistsError:
            raise SharedError(f"the lease of {peer} was taken by another node") from None
        except OSError as error:
            raise _refused(f"the lease of {peer} cannot be taken", error) from None
        now = self._state(peer, before.generation) if before else None
        if now is not None and before is not None and now.beat != before.beat:
            self._put(peer, replace(now, generation=lease.generation, holder=lease.holder, free=True))
            raise SharedError(f"the holder of the lease of {peer} lives after all")
        self._put(peer, lease)
        for generation in self._generations(peer)[1:]:
            with contextlib.suppress(OSError):  # an old folder does no harm
                (self._place(peer, generation) / "state").unlink(missing_ok=True)
                self._place(peer, generation).rmdir()

    def write(self, peer: str, lease: Lease) -> None:
        """The holder's next word. Raises SharedError where it cannot be said or the lease is lost."""
        self._mounted()
        self._put(peer, lease)
        if self._generations(peer)[:1] != [lease.generation]:
            raise SharedError(f"the lease of {peer} was taken over by another node")

    # -- marks

    def mark(self, node: str) -> str:
        """What `node` left behind when it went in good order; "" for nothing. Raises SharedError."""
        try:
            return (self._folder / f"{node}.left").read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise _refused(f"the mark of {node} cannot be read", error) from None

    def set_mark(self, node: str, text: str) -> None:
        """Say that `node` goes in good order; `text` is new each time. Raises SharedError."""
        self._mounted()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / f"{node}.left").write_text(text, encoding="utf-8")
        except OSError as error:
            raise _refused(f"the mark of {node} cannot be set", error) from None

    def clear_mark(self, node: str) -> None:
        """`node` is here again. Raises SharedError."""
        self._mounted()
        try:
            (self._folder / f"{node}.left").unlink(missing_ok=True)
        except OSError as error:
            raise _refused(f"the mark of {node} cannot be cleared", error) from None

    # -- below

    def _mounted(self) -> None:
        if not os.path.ismount(self._mount):
            raise SharedError(f"{self._mount} is not mounted: the cluster file system does not run")

    def _place(self, peer: str, generation: int) -> Path:
        return self._folder / f"{peer}.{generation}"

    def _generations(self, peer: str) -> list[int]:
        """Every generation that is there, the highest first."""
        try:
            names = [entry.name for entry in self._folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _refused(f"the leases of {peer} cannot be read", error) from None
        split = (name.rpartition(".") for name in names)
        return sorted(
            (int(end) for start, _, end in split if start == peer and end.isdecimal()), reverse=True
        )

    def _state(self, peer: str, generation: int) -> Lease | None:
        """The record of one generation, None where there is none."""
        path = self._place(peer, generation) / "state"
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            return Lease(**{**told, "phase": Phase(told["phase"]), "generation": generation})
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _refused(f"{path} cannot be read", error) from None
        except (ValueError, TypeError, KeyError):
            raise SharedError(f"{path} is not a record of this service; remove {path.parent}") from None

    def _put(self, peer: str, lease: Lease) -> None:
        place = self._place(peer, lease.generation)
        try:
            new = place / "state.new"
            # Of one length: a kernel that still has the old size in its cache would cut a longer record off.
            new.write_text(json.dumps(asdict(lease)).ljust(_SIZE), encoding="utf-8")
            new.replace(place / "state")
        except OSError as error:
            raise _refused(f"the record of {peer} cannot be written", error) from None


def _refused(what: str, error: OSError) -> SharedError:
    return SharedError(f"{what}: {error.strerror or error}")

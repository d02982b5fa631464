"""Corosync's own word on quorum and membership, by libvotequorum: no child process, no table to parse.

Source: corosync 3.1, include/corosync/votequorum.h. Only calls that answer at once are used, no callbacks.
Should Corosync hang, the call hangs with it; systemd's watchdog then ends this service, as it should.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from ctypes import POINTER, byref, c_char, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

CS_OK = 1
CS_ERR_NOT_EXIST = 12
QUORATE = 2
DEAD = 2
_OWN = 0  # the node that asks


class CorosyncError(Exception):
    """Corosync cannot be asked; one sentence."""


class Info(ctypes.Structure):
    """struct votequorum_info."""

    _fields_ = (
        *((name, c_uint) for name in ("node_id", "node_state", "node_votes", "node_expected_votes")),
        *((name, c_uint) for name in ("highest_expected", "total_votes", "quorum", "flags", "qdevice_votes")),
        ("qdevice_name", c_char * 255),
    )


@dataclass(frozen=True)
class Roll:
    """me: this node's id. members: ids of the nodes in this membership, of those that were asked for."""

    me: int
    quorate: bool
    members: frozenset[int]


class Membership:
    """A connection to Corosync, made when it is needed and made anew after it was lost."""

    def __init__(self, library: Any = None) -> None:
        self._library = library
        self._handle: c_uint64 | None = None

    def look(self, nodes: Iterable[int]) -> Roll:
        """Whether this node has quorum, and which of `nodes` are members. Raises CorosyncError."""
        try:
            members = {node for node in nodes if self._member(node)}
            own = self._info(_OWN)  # last: quorum is as new as can be
        except CorosyncError:
            self.close()
            raise
        if own is None:
            raise CorosyncError("Corosync does not know this node")
        return Roll(own.node_id, bool(own.flags & QUORATE), frozenset(members | {own.node_id}))

    def close(self) -> None:
        """Give the connection back; the next look opens another."""
        if self._handle is not None:
            self._library.votequorum_finalize(self._handle)
            self._handle = None

    def _member(self, node: int) -> bool:
        info = self._info(node)
        return info is not None and info.node_state != DEAD

    def _info(self, node: int) -> Info | None:
        info = Info()
        result = self._opened().votequorum_getinfo(self._handle, node, byref(info))
        if result == CS_ERR_NOT_EXIST:
            return None
        if result != CS_OK:
            raise CorosyncError(f"Corosync does not tell of its membership (error {result})")
        return info

    def _opened(self) -> Any:
        if self._library is None:
            try:
                self._library = ctypes.CDLL("libvotequorum.so.8")
            except OSError as error:
                raise CorosyncError(f"Corosync's library is not installed: {error}") from None
            self._library.votequorum_initialize.argtypes = [POINTER(c_uint64), c_void_p]
            self._library.votequorum_getinfo.argtypes = [c_uint64, c_uint, POINTER(Info)]
            self._library.votequorum_finalize.argtypes = [c_uint64]
        if self._handle is None:
            handle = c_uint64()
            result = self._library.votequorum_initialize(byref(handle), None)
            if result != CS_OK:
                raise CorosyncError(f"Corosync does not answer (error {result})")
            self._handle = handle
        return self._library

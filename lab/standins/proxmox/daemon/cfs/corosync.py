"""libcpg and libquorum through ctypes: as much of both as the cluster file system needs.

Source: corosync 3.1, include/corosync/{corotypes,cpg,quorum}.h. Not to be shared between threads.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from ctypes import POINTER, byref, c_char, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, Protocol

LOG = logging.getLogger("cfs")
CS_OK = 1
CS_ERR_TRY_AGAIN = 6
_DISPATCH_ALL = 2
_AGREED = 2
_MODEL_V1 = 1
_DELIVER_INITIAL_TOTEM_CONF = 1
_TRACK_CURRENT_AND_CHANGES = 1 | 2


class CorosyncError(Exception):
    """Corosync cannot be reached, or no longer."""


class _Name(ctypes.Structure):
    _fields_ = (("length", c_uint32), ("value", c_char * 128))


class _Address(ctypes.Structure):
    _fields_ = (("nodeid", c_uint32), ("pid", c_uint32), ("reason", c_uint32))


class _Ring(ctypes.Structure):
    _fields_ = (("nodeid", c_uint32), ("seq", c_uint64))


class _Vector(ctypes.Structure):
    _fields_ = (("base", c_void_p), ("length", c_size_t))


_Deliver = ctypes.CFUNCTYPE(None, c_uint64, POINTER(_Name), c_uint32, c_uint32, c_void_p, c_size_t)
_Lists = (POINTER(_Address), c_size_t)
_Change = ctypes.CFUNCTYPE(None, c_uint64, POINTER(_Name), *_Lists, *_Lists, *_Lists)
_Totem = ctypes.CFUNCTYPE(None, c_uint64, _Ring, c_uint32, POINTER(c_uint32))
_Notify = ctypes.CFUNCTYPE(None, c_uint64, c_uint32, c_uint64, c_uint32, POINTER(c_uint32))


class _Model(ctypes.Structure):
    _fields_ = (
        ("model", c_int),
        ("deliver", _Deliver),
        ("change", _Change),
        ("totem", _Totem),
        ("flags", ctypes.c_uint),
    )


class _QuorumCallbacks(ctypes.Structure):
    _fields_ = (("notify", _Notify),)


class Events(Protocol):
    """Who is told; the methods of Replica."""

    def delivered(self, sender: tuple[int, int], message: bytes) -> None: ...

    def members_changed(self, members: list[tuple[int, int]]) -> None: ...

    def ring_changed(self, ring: int) -> None: ...

    def quorum_changed(self, quorate: bool, ring: int) -> None: ...


def _check(result: int, what: str) -> None:
    if result != CS_OK:
        raise CorosyncError(f"{what}: error {result} of corosync")


def _guarded(action: Callable[..., None]) -> Callable[..., None]:
    """ctypes would print an exception and go on: we note it, and the dispatcher raises it."""

    def call(self: Any, *arguments: Any) -> None:
        try:
            action(self, *arguments)
        except Exception as error:  # noqa: BLE001 - handed on by dispatch()
            self.fault = error

    return call


class Group:
    """A membership of one CPG group."""

    def __init__(self, events: Events) -> None:
        self.fault: Exception | None = None
        self._events = events
        self._library = ctypes.CDLL("libcpg.so.4")
        self._handle = c_uint64()
        self._library.cpg_mcast_joined.argtypes = [c_uint64, c_int, POINTER(_Vector), ctypes.c_uint]
        for name in ("cpg_dispatch", "cpg_fd_get", "cpg_join", "cpg_local_get", "cpg_finalize"):
            getattr(self._library, name).argtypes = {
                "cpg_dispatch": [c_uint64, c_int],
                "cpg_fd_get": [c_uint64, POINTER(c_int)],
                "cpg_join": [c_uint64, POINTER(_Name)],
                "cpg_local_get": [c_uint64, POINTER(ctypes.c_uint)],
                "cpg_finalize": [c_uint64],
            }[name]
        # Kept in an attribute: C holds the only other reference to the callbacks.
        self._model = _Model(
            _MODEL_V1,
            _Deliver(self._delivered),
            _Change(self._changed),
            _Totem(self._ring),
            _DELIVER_INITIAL_TOTEM_CONF,
        )
        result = self._library.cpg_model_initialize(byref(self._handle), _MODEL_V1, byref(self._model), None)
        _check(result, "cpg_model_initialize")

    @property
    def fd(self) -> int:
        number = c_int()
        _check(self._library.cpg_fd_get(self._handle, byref(number)), "cpg_fd_get")
        return number.value

    @property
    def nodeid(self) -> int:
        number = ctypes.c_uint()
        _check(self._library.cpg_local_get(self._handle, byref(number)), "cpg_local_get")
        return number.value

    def join(self, name: str) -> None:
        raw = name.encode()
        _check(self._library.cpg_join(self._handle, byref(_Name(len(raw), raw))), "cpg_join")

    def send(self, message: bytes) -> bool:
        """Put a message into the order; False while flow control asks to wait."""
        buffer = ctypes.create_string_buffer(message, len(message))
        vector = _Vector(ctypes.cast(buffer, c_void_p), len(message))
        result = self._library.cpg_mcast_joined(self._handle, _AGREED, byref(vector), 1)
        if result == CS_ERR_TRY_AGAIN:
            return False
        _check(result, "cpg_mcast_joined")
        return True

    def dispatch(self) -> None:
        """Tell all events that wait. Raises CorosyncError when Corosync is gone."""
        result = self._library.cpg_dispatch(self._handle, _DISPATCH_ALL)
        if self.fault is not None:
            raise self.fault
        if result != CS_ERR_TRY_AGAIN:
            _check(result, "cpg_dispatch")

    def close(self) -> None:
        self._library.cpg_finalize(self._handle)

    @_guarded
    def _delivered(self, _handle: int, _name: Any, node: int, pid: int, message: int, size: int) -> None:
        self._events.delivered((node, pid), ctypes.string_at(message, size))

    @_guarded
    def _changed(self, _handle: int, _name: Any, members: Any, count: int, *_lists: Any) -> None:
        self._events.members_changed([(members[i].nodeid, members[i].pid) for i in range(count)])

    @_guarded
    def _ring(self, _handle: int, ring: _Ring, _count: int, _members: Any) -> None:
        self._events.ring_changed(ring.seq)


class Quorum:
    """Corosync's word on quorum."""

    def __init__(self, events: Events) -> None:
        self.fault: Exception | None = None
        self._events = events
        self._library = ctypes.CDLL("libquorum.so.5")
        self._handle = c_uint64()
        self._library.quorum_dispatch.argtypes = [c_uint64, c_int]
        self._library.quorum_fd_get.argtypes = [c_uint64, POINTER(c_int)]
        self._library.quorum_getquorate.argtypes = [c_uint64, POINTER(c_int)]
        self._library.quorum_trackstart.argtypes = [c_uint64, ctypes.c_uint]
        self._library.quorum_finalize.argtypes = [c_uint64]
        self._callbacks = _QuorumCallbacks(_Notify(self._notified))
        kind = c_uint32()
        result = self._library.quorum_initialize(byref(self._handle), byref(self._callbacks), byref(kind))
        _check(result, "quorum_initialize")

    @property
    def fd(self) -> int:
        number = c_int()
        _check(self._library.quorum_fd_get(self._handle, byref(number)), "quorum_fd_get")
        return number.value

    @property
    def quorate(self) -> bool:
        number = c_int()
        _check(self._library.quorum_getquorate(self._handle, byref(number)), "quorum_getquorate")
        return bool(number.value)

    def track(self) -> None:
        result = self._library.quorum_trackstart(self._handle, _TRACK_CURRENT_AND_CHANGES)
        _check(result, "quorum_trackstart")

    def dispatch(self) -> None:
        """Tell all events that wait. Raises CorosyncError when Corosync is gone."""
        result = self._library.quorum_dispatch(self._handle, _DISPATCH_ALL)
        if self.fault is not None:
            raise self.fault
        if result != CS_ERR_TRY_AGAIN:
            _check(result, "quorum_dispatch")

    def close(self) -> None:
        self._library.quorum_finalize(self._handle)

    @_guarded
    def _notified(self, _handle: int, quorate: int, ring: int, _count: int, _view: Any) -> None:
        self._events.quorum_changed(bool(quorate), ring)

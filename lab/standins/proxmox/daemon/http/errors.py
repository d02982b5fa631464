"""Errors of the API, as Proxmox VE answers them (status, reason phrase, errors by parameter)."""

from __future__ import annotations

from collections.abc import Mapping


class ApiError(Exception):
    """An answer other than success. `message` becomes the reason phrase of the HTTP answer.

    PVE answers 500 for whatever dies, also for "does not exist"; see registry.py for the parameters' 400.
    """

    def __init__(self, status: int, message: str, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message.strip()
        self.errors = dict(errors or {})


class ParameterError(ApiError):
    """400 "Parameter verification failed." with a text for each parameter.

    `ParameterError(dev="no such device")`; `ParameterError({"size-max": "too large"})` for names with a dash.
    """

    def __init__(self, errors: Mapping[str, str] | None = None, /, **more: str) -> None:
        super().__init__(400, "Parameter verification failed.", {**(errors or {}), **more})


class TaskError(Exception):
    """Ends a task with `TASK ERROR: <message>`."""

"""Errors that a user of the rack sees: one clear sentence, no traceback."""

from __future__ import annotations


class LabError(Exception):
    """The rack cannot do what was asked; the message says what, where and what was expected."""


class DeadlineError(LabError):
    """Something did not happen before its deadline; the message names the deadline."""

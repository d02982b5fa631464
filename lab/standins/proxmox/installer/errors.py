"""What stops an installation."""

from __future__ import annotations


class InstallError(Exception):
    """The installation cannot go on; the message is one sentence for the console."""

"""User and password of a BMC, from AWS SSM by this node's own role; kept in memory only.

/usr/local/sbin/node-parameter is the node's reader of the parameter store (role `common`, phase 1). A name of
a parameter stands on its command line, never a value. What was read once serves on while AWS does not answer.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

READER = "/usr/local/sbin/node-parameter"
_LIMIT_S = 60


class CredentialsError(Exception):
    """A parameter could not be read; one sentence, without its value."""


@dataclass(frozen=True)
class Credentials:
    """Their repr tells nothing."""

    user: str = field(repr=False)
    password: str = field(repr=False)


def read_parameter(name: str) -> str:
    """The value of one parameter. Raises CredentialsError."""
    try:
        done = subprocess.run(
            [READER, name],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CredentialsError(f"the parameter {name} cannot be read: {type(error).__name__}") from None
    if done.returncode != 0:
        why = " ".join(done.stderr.split())[:200] or f"status {done.returncode}"
        raise CredentialsError(f"the parameter {name} cannot be read: {why}")
    value = done.stdout.removesuffix("\n")
    if not value or "\n" in value:
        raise CredentialsError(f"the parameter {name} does not hold one line")
    return value


class Store:
    """The credentials of one BMC; after `doubt` the next `get` asks AWS again, as a password may change."""

    def __init__(self, user: str, password: str, read: Callable[[str], str] = read_parameter) -> None:
        self.names = f"{user} and {password}"
        self._user, self._password, self._read = user, password, read
        self._known: Credentials | None = None
        self._doubted = False

    def get(self) -> Credentials:
        """Raises CredentialsError."""
        if self._known is None or self._doubted:
            try:
                self._known = Credentials(self._read(self._user), self._read(self._password))
            except CredentialsError:
                if self._known is None:
                    raise
            self._doubted = False
        return self._known

    def doubt(self) -> None:
        """The BMC refused them."""
        self._doubted = True

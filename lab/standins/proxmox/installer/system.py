"""Commands and messages of the live system."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .errors import InstallError

STARTED = time.monotonic()


def run(argv: Sequence[str], *, deadline_s: float = 120.0, stdin: str | None = None) -> str:
    """Run a command and give its output. Raises InstallError with its last line when it fails or is late."""
    try:
        done = subprocess.run(
            list(argv), input=stdin, capture_output=True, text=True, timeout=deadline_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"{argv[0]} did not run to its end within {deadline_s:.0f} s: {error}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise InstallError(f"{' '.join(argv[:4])} failed ({done.returncode}): {said}")
    return done.stdout


def say(text: str) -> None:
    """One line on the console, at once."""
    sys.stdout.write(f"{text}\r\n")
    sys.stdout.flush()


def step(number: int, total: int, what: str) -> None:
    say(f"INSTALL: {what} {number}/{total} ({time.monotonic() - STARTED:.0f} s)")


def write(root: Path, path: str, text: str, mode: int = 0o644) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # a link in the base system must not be written through
    target.write_text(text, encoding="utf-8")
    target.chmod(mode)

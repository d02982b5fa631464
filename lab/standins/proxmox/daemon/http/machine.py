"""The node on which the daemon runs: its files and its commands, both replaceable by a test."""

from __future__ import annotations

import errno
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ApiError

BETWEEN_MOUNTS = frozenset({errno.ENOTCONN, errno.ECONNABORTED})
"""What a file below /etc/pve answers while its file system ends and begins again."""


@dataclass(frozen=True)
class Result:
    """What a command answered."""

    code: int
    out: str
    err: str


class Machine:
    """A node: its name, its root folder (`/` but in tests) and the commands on it."""

    def __init__(self, node: str, root: Path | str = "/", port: int = 8006) -> None:
        self.node = node
        self.root = Path(root)
        self.port = port
        self.lock = threading.RLock()

    def file(self, path: str) -> Path:
        """The file `/etc/...` below the root folder."""
        return self.root / path.lstrip("/")

    def read(self, path: str, default: str = "") -> str:
        """A file's text, or `default` where there is none."""
        try:
            return self._text(path)
        except (FileNotFoundError, NotADirectoryError):
            return default
        except OSError as error:
            if path.startswith("/etc/pve/") and error.errno in BETWEEN_MOUNTS:
                return default
            raise

    def _text(self, path: str) -> str:
        file = self.file(path)
        try:
            return file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            if not path.startswith("/etc/pve/"):
                raise
        # The kernel looks a name up and then opens what it found: a rename between the two leaves it with
        # nothing, though the name was there all the time.
        return file.read_text(encoding="utf-8", errors="replace")

    def write(self, path: str, text: str | bytes, mode: int | None = None) -> None:
        """Write a file by renaming, so that no reader sees half of it. Without quorum /etc/pve answers
        500 "cfs-lock 'file' error: no quorum!" here, as PVE's writers do."""
        target = self.file(path)
        fresh = target.with_name(f"{target.name}.tmp.{threading.get_native_id()}")
        data = text.encode() if isinstance(text, str) else text
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(data)
            if mode is not None and not path.startswith("/etc/pve/"):
                fresh.chmod(mode)
            fresh.replace(target)
        except PermissionError as error:
            lock = path.removeprefix("/etc/pve/").replace(".", "_").replace("/", "_")
            raise ApiError(500, f"cfs-lock 'file-{lock}' error: no quorum!") from error

    def run(
        self, command: Sequence[str], *, input: str | None = None, timeout_s: float = 60, check: bool = True
    ) -> Result:
        """Run a command; with `check` a failure is an ApiError 500 with the command's own last words."""
        pipe = subprocess.PIPE
        try:
            done = subprocess.run(
                list(command), input=input, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace",
                timeout=timeout_s,
            )  # fmt: skip
            result = Result(done.returncode, done.stdout, done.stderr)
        except FileNotFoundError:
            result = Result(127, "", f"{command[0]}: command not found")
        except subprocess.TimeoutExpired:
            result = Result(124, "", f"{command[0]} did not end within {timeout_s:g} s")
        if check and result.code:
            words = (result.err or result.out).strip().splitlines()
            said = words[-1] if words else f"exit code {result.code}"
            raise ApiError(500, f"command '{' '.join(command)}' failed: {said}")
        return result

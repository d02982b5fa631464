"""The OpenSSH client's private folder of one run: key, known host keys, configuration and control sockets.

The folder (mode 0700, in memory where /dev/shm exists) is removed by `close`; what a killed run left is
removed by the next one. Host keys come from parameters: a host without a known key is not spoken to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster import known_hosts
from cluster.errors import RackproofError, UnreachableError

CONNECT_S = 10  # to connect and to agree on keys
LOGIN_S = 30  # until a login shell runs: an emulated node under load takes its time
KEEPALIVE_S = 5
KEEPALIVES = 3  # a dead peer is noticed after KEEPALIVE_S * KEEPALIVES
PERSIST_S = 120
_PREFIX = "rackproof-"
_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder in it is made by mkdtemp, mode 0700
_SOCKET_LIMIT = 108 - 1 - 17  # sun_path, its final zero, and the suffix that ssh adds while it listens


@dataclass(frozen=True)
class SshHost:
    """One host to log in to; `key_parameter` is where its host key stands, for messages."""

    name: str
    address: str
    key_parameter: str
    port: int = 22


class SshFolder:
    """Makes `ssh` command lines for the hosts of a site. Safe for use by threads.

    `private_key()` gives the key's text, `host_key(name)` a host's public key or None; both are asked on
    first use.
    """

    def __init__(
        self,
        user: str,
        hosts: Sequence[SshHost],
        private_key: Callable[[], str],
        host_key: Callable[[str], str | None],
    ) -> None:
        self.user = user
        self.hosts = {host.name: host for host in hosts}
        self._private_key = private_key
        self._host_key = host_key
        self._known: dict[str, str] = {}
        self._path: Path | None = None
        self._lock = threading.Lock()

    def argv(
        self, name: str, command: str, *, multiplexed: bool = True, options: Sequence[str] = ()
    ) -> list[str]:
        """Command line that runs `command` on host `name`; `options` are `-o` settings that win over ours.

        Raises `UnreachableError` where the host's key is not known.
        """
        config = self._prepared(name)
        line = ["ssh", "-F", str(config)]
        if not multiplexed:
            line += ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
        for option in options:
            line += ["-o", option]
        return [*line, "-T", name, command]

    def config(self, names: Sequence[str] = ()) -> Path:
        """The configuration file, ready for the named hosts (default: all): for tools that call ssh
        themselves.
        """
        for name in names or tuple(self.hosts):
            self._prepared(name)
        return self._folder() / "config"

    def drop(self, name: str) -> None:
        """End the host's kept connection, so that the next command makes a fresh one. Never raises."""
        path = self._path
        if path is None or not (path / f"{name}.sock").exists():
            return
        line = ["ssh", "-F", str(path / "config"), "-O", "exit", name]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # it ends by itself after PERSIST_S
            subprocess.run(
                line, stdin=subprocess.DEVNULL, capture_output=True, timeout=CONNECT_S, check=False
            )

    def forget(self, name: str) -> None:
        """Ask for the host's key again at the next use: after a host was installed anew."""
        self.drop(name)
        with self._lock:
            self._known.pop(name, None)

    def close(self) -> None:
        """End all kept connections and remove the folder with the key."""
        for name in self.hosts:
            self.drop(name)
        with self._lock:
            path, self._path = self._path, None
            self._known.clear()
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)

    def _prepared(self, name: str) -> Path:
        host = self.hosts[name]
        folder = self._folder()
        with self._lock:
            known = name in self._known
        if not known:
            text = self._host_key(name)
            if text is None:
                raise UnreachableError(
                    f"{name} ({host.address}) is not spoken to: its SSH host key is not known,"
                    f" there is no parameter {host.key_parameter}"
                )
            line = known_hosts.entry(name, known_hosts.parse(text, f"parameter {host.key_parameter}"))
            with self._lock:
                self._known[name] = line
                known_hosts.write(folder / "known_hosts", list(self._known.values()))
        return folder / "config"

    def _folder(self) -> Path:
        with self._lock:
            if self._path is None:
                self._path = self._make()
            return self._path

    def _make(self) -> Path:
        base = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
        _sweep(base)
        path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))
        longest = max((len(str(path / f"{name}.sock")) for name in self.hosts), default=0)
        if longest > _SOCKET_LIMIT:
            path.rmdir()
            raise RackproofError(
                f"{base} is too long a path for SSH control sockets: {longest} > {_SOCKET_LIMIT}"
            )
        (path / "known_hosts").touch(mode=0o600)
        key = path / "key"
        key.touch(mode=0o600)
        key.write_text(self._private_key().strip() + "\n", encoding="ascii")
        (path / "config").write_text(self._configuration(path), encoding="ascii")
        return path

    def _configuration(self, path: Path) -> str:
        blocks = [
            f"Host {host.name}\n  HostName {host.address}\n  Port {host.port}\n  HostKeyAlias {host.name}\n"
            f"  ControlPath {path}/{host.name}.sock\n"
            for host in self.hosts.values()
        ]
        common = f"""Host *
  User {self.user}
  IdentityFile {path}/key
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {path}/known_hosts
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  UpdateHostKeys no
  CheckHostIP no
  BatchMode yes
  PasswordAuthentication no
  KbdInteractiveAuthentication no
  GSSAPIAuthentication no
  ForwardAgent no
  ConnectTimeout {CONNECT_S}
  ConnectionAttempts 1
  ServerAliveInterval {KEEPALIVE_S}
  ServerAliveCountMax {KEEPALIVES}
  ControlMaster auto
  ControlPersist {PERSIST_S}
  LogLevel ERROR
"""
        return "".join(blocks) + common


def _sweep(base: Path) -> None:
    """Remove folders whose run was killed: the process in their name is gone."""
    for left in base.glob(f"{_PREFIX}[0-9]*-*"):
        process = left.name.removeprefix(_PREFIX).split("-")[0]
        mine = left.stat().st_uid == os.getuid()
        if mine and process.isdigit() and not Path("/proc", process).exists():
            shutil.rmtree(left, ignore_errors=True)

"""corosync.conf: what the views need of it, and bringing a newer one to Corosync."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

LOG = logging.getLogger("cfs")
RELOAD_DEADLINE_S = 60.0


@dataclass(frozen=True)
class ClusterConf:
    """name, config_version, and nodes as {name: (nodeid, ring0_addr)}; all empty for no file."""

    name: str = ""
    version: int = 0
    nodes: tuple[tuple[str, int, str], ...] = ()


def parse(text: str) -> ClusterConf:
    """What a corosync.conf says; a file that is cut short gives what stands in it."""
    name, version = "", 0
    nodes: list[tuple[str, int, str]] = []
    sections: list[str] = []
    fields: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw.split("#", 1)[0].strip()
        if line.endswith("{"):
            sections.append(line[:-1].strip())
            fields = {}
        elif line == "}" and sections:
            if sections.pop() == "node" and fields.get("nodeid", "").isdigit():
                nodes.append((fields.get("name", ""), int(fields["nodeid"]), fields.get("ring0_addr", "")))
            fields = {}
        elif match := re.fullmatch(r"([\w.]+)\s*:\s*(.*)", line):
            fields[match[1]] = match[2]
            if sections == ["totem"] and match[1] == "cluster_name":
                name = match[2]
            elif sections == ["totem"] and match[1] == "config_version" and match[2].isdigit():
                version = int(match[2])
    return ClusterConf(name, version, tuple(nodes))


class LocalConf:
    """Corosync's own copy of the cluster's corosync.conf."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._one = threading.Lock()

    def take(self, text: bytes) -> bool:
        """Write the cluster's copy where it is newer than the local one; True where it was written."""
        version = parse(text.decode(errors="replace")).version
        try:
            local = parse(self.path.read_text(encoding="utf-8", errors="replace")).version
        except FileNotFoundError:
            local = 0
        if version <= local:
            return False
        LOG.info("%s: version %s becomes %s", self.path, local, version)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(self.path.name + ".tmp")
        with fresh.open("wb") as sink:
            sink.write(text)
            sink.flush()
            os.fsync(sink.fileno())
        fresh.chmod(0o644)
        fresh.replace(self.path)
        return True

    def reload_later(self) -> None:
        """Tell Corosync, on a thread: its answer may need the very loop that we are called from."""
        threading.Thread(target=self._reload, name="reload", daemon=True).start()

    def _reload(self) -> None:
        with self._one:
            try:
                done = subprocess.run(
                    ["corosync-cfgtool", "-R"],
                    capture_output=True,
                    text=True,
                    timeout=RELOAD_DEADLINE_S,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                LOG.error("corosync-cfgtool -R: %s", error)
                return
        if done.returncode:
            LOG.error("corosync-cfgtool -R: %s", (done.stderr or done.stdout).strip())

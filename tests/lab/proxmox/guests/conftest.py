"""One node with guests, and two that share /etc/pve."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.standins.proxmox.daemon.config import certificates

from ..conftest import NODE, Rig
from ..hypervisor import Hypervisor, hypervisor

OTHER = "pve-b"


@pytest.fixture
def node(rig: Rig) -> Hypervisor:
    """What the guests of the rig's one node stand on."""
    return hypervisor(rig)


@pytest.fixture
def two(tmp_path: Path, keys: Path) -> Iterator[tuple[Rig, Rig]]:
    """pve-a on 127.0.0.1 and pve-b on 127.0.0.2, the same port, one /etc/pve, one Ceph."""
    first = Rig(tmp_path / "a", keys)
    second = Rig(tmp_path / "b", keys, OTHER, "127.0.0.2", first.machine.port)
    pve = second.machine.file("/etc/pve")
    shutil.rmtree(pve)
    pve.symlink_to(first.machine.file("/etc/pve"))
    first.cluster(OTHER)
    listed = {
        NODE: {"id": 1, "online": 1, "ip": "127.0.0.1"},
        OTHER: {"id": 2, "online": 1, "ip": "127.0.0.2"},
    }
    first.machine.write("/etc/pve/.members", json.dumps({"cluster": {"quorate": 1}, "nodelist": listed}))
    second.machine.answers["ip"] = lambda _: json.dumps([{"addr_info": [{"local": "127.0.0.2"}]}])
    second.machine.write("/etc/hosts", "127.0.0.1 localhost\n127.0.0.2 pve-b\n")
    second.machine.file(f"/etc/pve/nodes/{OTHER}").mkdir(parents=True)
    certificates.ensure(second.machine, renew=True)
    second.server.renew()
    yield first, second
    first.close()
    second.close()

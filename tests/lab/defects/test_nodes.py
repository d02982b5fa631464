"""Defects of nodes: their scripts run by a real shell in a folder that stands for the node."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lab import defects, domain
from lab.defects import nodes, servers
from lab.errors import LabError
from lab.paths import State

HOSTNAME = """#!/bin/sh
if [ $# = 1 ]; then echo "$1" > "$NODE/running-name"; else cat "$NODE/running-name"; fi
"""
SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$NODE/systemctl.log"
"""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the defects touch; ssh becomes a shell in it."""
    root = tmp_path / "node"
    for folder in ("etc/ssh/sshd_config.d", "root", "bin", "sys/class/block", "dev"):
        (root / folder).mkdir(parents=True)
    (root / "etc/hostname").write_text("node1\n", encoding="ascii")
    (root / "running-name").write_text("node1\n", encoding="ascii")
    (root / "etc/resolv.conf").write_text("nameserver 10.6.0.1\n", encoding="ascii")
    for name, text in (("hostname", HOSTNAME), ("systemctl", SYSTEMCTL), ("udevadm", "#!/bin/sh\n")):
        (root / "bin" / name).write_text(text, encoding="ascii")
        (root / "bin" / name).chmod(0o755)

    def in_folder(argv: Sequence[str], *, stdin: str, **_: Any) -> subprocess.CompletedProcess[str]:
        assert argv[0] == "ssh"
        script = stdin
        for top in ("/etc/", "/root/", "/sys/", "/dev/nvme"):
            script = script.replace(top, f"{root}{top}")
        script = script.replace("/dev/${", f"{root}/dev/${{")
        environment = {"NODE": str(root), "PATH": f"{root / 'bin'}:{os.environ['PATH']}"}
        return subprocess.run(
            ["sh", "-eu", "-s"],
            input=script,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=30,
        )

    monkeypatch.setattr(nodes, "run", in_folder)
    return root


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "rack")
    made.create()
    return made


def files_of(node: Path) -> dict[str, str]:
    return {
        str(file.relative_to(node)): file.read_text(encoding="ascii")
        for folder in ("etc", "root")
        for file in (node / folder).rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("name", ["password-ssh-dropin", "wrong-hostname", "wrong-resolver"])
def test_files_come_back_as_they_were(node: Path, state: State, name: str) -> None:
    before = files_of(node)
    defects.apply(name, "node1", state=state)
    assert files_of(node) != before
    defects.undo(name, "node1", state=state)
    assert files_of(node) == before


def test_what_the_node_then_has(node: Path, state: State) -> None:
    for name in ("password-ssh-dropin", "wrong-hostname", "wrong-resolver", "no-time-sync"):
        defects.apply(name, "node1", state=state)
    dropin = (node / "etc/ssh/sshd_config.d/00-left-over.conf").read_text(encoding="ascii")
    assert dropin == "PasswordAuthentication yes\nPermitRootLogin yes\n"
    assert (node / "etc/hostname").read_text(encoding="ascii") == "localhost\n"
    assert (node / "running-name").read_text(encoding="ascii") == "localhost\n"
    assert (node / "etc/resolv.conf").read_text(encoding="ascii") == "nameserver 192.0.2.53\n"
    log = (node / "systemctl.log").read_text(encoding="ascii")
    assert log == "reload ssh\ndisable --now chrony\n"
    defects.undo("wrong-hostname", "node1", state=state)
    assert (node / "running-name").read_text(encoding="ascii") == "node1\n"
    defects.undo("no-time-sync", "node1", state=state)
    assert (node / "systemctl.log").read_text(encoding="ascii").endswith("enable --now chrony\n")


def test_data_is_written_to_the_right_drive_only(
    node: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers.servers, "running", lambda _: True)
    content = b"x" * 16384
    for number, serial in enumerate(["BOOT11", "DATA102", "DATA101"]):
        device = node / f"sys/class/block/nvme{number}n1/device"
        device.mkdir(parents=True)
        (device / "serial").write_text(f"{serial}   \n", encoding="ascii")
        (node / f"dev/nvme{number}n1").write_bytes(content)
    defects.apply("data-on-blank-disk", "node1", state=state)
    wanted = node / "dev/nvme2n1"
    assert wanted.read_bytes()[4086:4096] == b"SWAPSPACE2"
    assert b"somebodys-data" in wanted.read_bytes()[:4096]
    assert [(node / f"dev/nvme{number}n1").read_bytes() == content for number in (0, 1)] == [True, True]
    defects.undo("data-on-blank-disk", "node1", state=state)
    assert wanted.read_bytes()[:4096] == bytes(4096)


def test_data_on_a_server_that_is_off(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def record(argv: Sequence[str], **_: Any) -> None:
        asked.append(list(argv))
        if argv[0] == "mkswap":
            Path(argv[-1]).write_bytes(b"S" * 65536)

    monkeypatch.setattr(servers.servers, "running", lambda _: False)
    monkeypatch.setattr(servers, "run", record)
    defects.apply("data-on-blank-disk", "node2", state=state)
    assert asked[-1][0] == "qemu-io"
    assert asked[-1][-1] == str(domain.disk_path(state, "DATA201"))


COROSYNC = """\
nodelist {
  node {
    name: node2
    quorum_votes: 1
    ring1_addr: 10.7.0.12
  }
  node {
    name: node3
    quorum_votes: 1
    ring1_addr: 10.7.0.13
  }
}
totem {
  config_version: 4
}
"""


@pytest.mark.parametrize(
    ("name", "on", "line"),
    [("missing-vote", "node2", "quorum_votes: 0"), ("wrong-ring-address", "node3", "ring1_addr: 10.7.0.99")],
)
def test_the_clusters_configuration_gets_a_new_version_where_it_changes_and_only_there(
    node: Path, state: State, name: str, on: str, line: str
) -> None:
    (node / "etc/pve").mkdir()
    (node / "bin/sleep").write_text("#!/bin/sh\n", encoding="ascii")
    (node / "bin/sleep").chmod(0o755)
    conf = node / "etc/pve/corosync.conf"
    conf.write_text(COROSYNC, encoding="ascii")
    defects.apply(name, on, state=state)
    of_node = conf.read_text(encoding="ascii").split(f"name: {on}")[1].split("}")[0]
    assert line in of_node and "config_version: 5" in conf.read_text(encoding="ascii")
    conf.write_text(COROSYNC.replace("version: 4", "version: 6"), encoding="ascii")  # somebody has mended it
    defects.undo(name, on, state=state)
    assert conf.read_text(encoding="ascii") == COROSYNC.replace("version: 4", "version: 6")


def test_a_node_that_does_not_answer(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(argv: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, 255, "", "ssh: connect to host: No route to host\n")

    monkeypatch.setattr(nodes, "run", refused)
    with pytest.raises(LabError, match="node1: ssh: connect to host: No route to host"):
        defects.apply("wrong-hostname", "node1", state=state)
    assert defects.broken(state) == []

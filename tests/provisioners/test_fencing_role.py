"""The role that brings the fencing service: what it leaves on a node, that a second run changes nothing, and
what its unit allows.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioners.ansible import ROLES
from provisioners.roles.fencing.files.rackproof_fencing import config
from provisioners.roles.fencing.files.rackproof_fencing.model import STALL_S

FILES = ROLES / "fencing/files"
SERVICE = "/etc/systemd/system/rackproof-fencing.service"
PEERS = [
    {"name": f"node{n}", "id": n, "serial": f"RACK-000{n}", "address": f"10.9.0.1{n}", "port": 8443}
    for n in (1, 2, 3)
]
# As much of systemd as Ansible's module asks for one unit; it notes what it was told to do.
SYSTEMCTL = f"""#!/bin/sh
cd /run/systemctl
case "$*" in
  show*) [ -e {SERVICE} ] && loaded=loaded || loaded=not-found
         [ -e active ] && active=active || active=inactive
         echo "LoadState=$loaded"; echo "ActiveState=$active"; exit 0 ;;
  is-enabled*) [ -e enabled ] && echo enabled && exit 0; echo disabled; exit 1 ;;
  enable*) : > enabled ;;
  disable*) rm -f enabled ;;
  start*|restart*) : > active ;;
  stop*) rm -f active ;;
esac
echo "$1" >> calls
"""
# This machine in another mount namespace: what is written to these folders is gone with it.
NODE = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
for folder in /etc /usr /run /var; do
  mkdir -p "$1$folder/upper" "$1$folder/work"
  mount -t overlay overlay -o "lowerdir=$folder,upperdir=$1$folder/upper,workdir=$1$folder/work" $folder
done
mkdir -p /run/systemctl /run/systemd/system
cp "$2" /usr/bin/systemctl
: > /usr/sbin/fence_redfish
exec sh -s
"""


class Node:
    """Plays the role and looks at what it left; all at once, when asked for the answers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._script: list[str] = []

    def play(self, tasks: str = "main", *words: str, **variables: Any) -> None:
        number = len(self._script)
        given = {"ansible_python_interpreter": sys.executable, "ansible_connection": "local", **variables}
        include = {"name": "fencing", "tasks_from": tasks}
        written = [
            {"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.import_role": include}]}
        ]
        (self._folder / f"{number}.yml").write_text(json.dumps(written))
        (self._folder / f"{number}.json").write_text(json.dumps(given))
        words = ("-i", "node2,", "-e", f"@{number}.json", f"{number}.yml", *words)
        self._script.append(" ".join(["ansible-playbook", *words]))

    def look(self, command: str) -> None:
        self._script.append(command)

    def answers(self) -> list[tuple[int, str]]:
        """Status and output of each command."""
        if os.geteuid() != 0:
            pytest.skip("needs root: mounts copies of this machine's folders in a namespace of its own")
        (self._folder / "node").mkdir()
        (self._folder / "systemctl").write_text(SYSTEMCTL)
        (self._folder / "systemctl").chmod(0o755)
        lines = [f"cd {self._folder}"]
        lines += [f"({line}) > {i}.out 2>&1 < /dev/null; echo $?" for i, line in enumerate(self._script)]
        places = [str(self._folder / "node"), str(self._folder / "systemctl")]
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", NODE, "sh", *places],
            input="\n".join(lines), env=environment(self._folder),
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        codes = done.stdout.split()
        assert len(codes) == len(self._script), done.stderr
        return [(int(code), (self._folder / f"{i}.out").read_text()) for i, code in enumerate(codes)]


def environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_ROLES_PATH": str(ROLES),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_REMOTE_TEMP": str(folder / "tmp"),
        "ANSIBLE_NOCOLOR": "1",
    }


def changed(output: str) -> int:
    found = re.search(r"changed=(\d+) .* failed=0 ", output)
    assert found, output
    return int(found[1])


@pytest.fixture
def ca(tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\n")
    return str(path)


def test_twice_played_is_once_done_and_undone(tmp_path: Path, ca: str) -> None:
    own = {**PEERS[2], "user": "/x/user", "password": "/x/password", "systems_uri": "/redfish/v1/Systems/1"}
    given = {
        "fencing_peers": [*PEERS[:2], own],
        "fencing_parameters_root": "/pve1",
        "fencing_ca_file": ca,
    }
    node = Node(tmp_path)
    node.play("main", "--check", **given)
    node.look(f"ls {SERVICE}")
    node.play("main", **given)
    node.look("cat /etc/rackproof/fencing.json")
    node.look("ls /usr/local/lib/rackproof/*; cat /run/systemctl/calls; ls /run/systemctl")
    node.play("main", "--check", **given)
    node.play("main", **{**given, "fencing_wait_s": 80})
    node.look("tail -n 1 /run/systemctl/calls")
    node.play("undo")
    node.look(f"ls {SERVICE} /etc/rackproof/fencing.json /usr/local/lib/rackproof/rackproof_fencing")
    node.look("ls /run/systemctl")
    node.play("undo", "--check")
    first, absent, main, written, left, check, longer, last, undo, gone, state, undone = node.answers()

    assert changed(first[1]) > 0 and absent[0] != 0, "a check only tells"
    assert changed(main[1]) > 0
    loaded = config.parse(json.loads(written[1]))
    assert loaded.me.name == "node2" and [peer.node for peer, _ in loaded.peers] == [1, 3]
    assert loaded.limits == config.Limits(75.0, 900.0, 3)
    (_, bmc), (_, named) = loaded.peers
    assert bmc == config.Bmc(
        address="10.9.0.11", port=8443, systems_uri=None, ca_file="/etc/rackproof/fencing-ca.pem",
        user="/pve1/nodes/node1/ipmi_user", password="/pve1/nodes/node1/ipmi_password",
    )  # fmt: skip
    assert (named.user, named.password, named.systems_uri) == ("/x/user", "/x/password", own["systems_uri"])
    modules = sorted(path.name for path in (FILES / "rackproof_fencing").glob("*.py"))
    assert left[1].split() == [*modules, "daemon-reload", "enable", "start", "active", "calls", "enabled"]
    assert changed(check[1]) == 0, check[1]
    assert changed(longer[1]) == 2 and last[1] == "restart\n", (
        "the configuration, and the service that reads it"
    )
    assert changed(undo[1]) > 0 and gone[1].count("No such file") == 3
    assert state[1].split() == ["calls"] and changed(undone[1]) == 0


def test_without_peers_nothing_is_done(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.play()
    ((_, output),) = node.answers()
    assert changed(output) == 0


@pytest.mark.parametrize(
    "wrong", [{"fencing_wait_s": 70}, {"fencing_peers": PEERS[:1]}, {"fencing_node": "node9"}]
)
def test_what_cannot_be_safe_is_refused_before_anything_is_done(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    node = Node(tmp_path)
    node.play("main", **{"fencing_peers": PEERS, "fencing_parameters_root": "/pve1", **wrong})
    ((status, output),) = node.answers()
    assert status != 0 and "fencing_wait_s must exceed 70" in output and "changed=0" in output


def test_ansible_accepts_the_role(tmp_path: Path) -> None:
    tasks = [{"ansible.builtin.import_role": {"name": "fencing", "tasks_from": t}} for t in ("main", "undo")]
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        ["ansible-playbook", "--syntax-check", "-i", "node1,", str(tmp_path / "play.yml")],
        env=environment(tmp_path), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_secret_passes_through_the_role() -> None:
    """It is given names of parameters; the node reads their values itself."""
    defaults = yaml.safe_load((ROLES / "fencing/defaults/main.yml").read_text())
    assert not [name for name in defaults if "password" in name or "secret" in name]


# -- the unit


def unit() -> RawConfigParser:
    parser = RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(FILES / "rackproof-fencing.service", encoding="utf-8")
    return parser


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed here")
    text = (FILES / "rackproof-fencing.service").read_text()
    path = tmp_path / "rackproof-fencing.service"
    path.write_text(re.sub("ExecStart=.*", "ExecStart=/bin/true", text))
    done = subprocess.run(
        [program, "verify", "--man=no", str(path)],
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "rackproof-fencing" not in done.stderr, done.stderr


def test_logrotate_accepts_its_file() -> None:
    program = shutil.which("logrotate", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("logrotate is not installed here")
    done = subprocess.run(
        [program, "--debug", "--state", "/dev/null", str(FILES / "rackproof-fencing.logrotate")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "error" not in done.stderr.lower(), done.stderr


def test_the_unit_keeps_the_promises_that_the_program_counts_on() -> None:
    service, whole = unit()["Service"], unit()
    assert service["Type"] == "notify" and service["SyslogIdentifier"] == "rackproof-fencing"
    assert float(service["WatchdogSec"]) <= STALL_S and service["WatchdogSignal"] == "SIGKILL"
    assert service["KillMode"] == "control-group", "an order must not outlive the service"
    assert service["DevicePolicy"] == "closed", "the watchdog belongs to watchdog-mux"
    assert service["LimitCORE"] == "0", "passwords are in its memory"
    assert service["RuntimeDirectoryPreserve"] == "yes", "who was seen must outlast a restart"
    assert service["ProtectSystem"] not in ("full", "strict"), "/etc/pve must stay writable when mounted anew"
    assert {"corosync.service", "pve-cluster.service"} <= set(whole["Unit"]["After"].split())
    assert whole["Unit"]["PartOf"] == "corosync.service"

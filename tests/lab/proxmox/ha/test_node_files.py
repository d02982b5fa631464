"""What stands on a node for HA: the OCF agent, the gate before the daemons, units and their times."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lab.image import recipe
from lab.standins.proxmox.daemon.cfs import rules as cfs_rules
from lab.standins.proxmox.daemon.ha import cib, fence, locks, lrm, nodestates

UNITS = recipe.NODE_FILES / "usr/lib/systemd/system"
AGENT = recipe.NODE_FILES / "usr/lib/ocf/resource.d/rackproof/guest"
# The guests' program: it does as it is told where the file `fails` is not there.
GUESTS = """#!/bin/sh
echo "$3 $4 $5" >> "$ROOT/told"
[ ! -e "$ROOT/fails" ] || exit 1
case $3 in
    start) echo "0: 2 0 10000 1 1 1 @/var/lib/lxc/101/command" > "$ROOT/proc/net/unix" ;;
    stop) : > "$ROOT/proc/net/unix" ;;
esac
"""


class Agent:
    """The agent on node1 of a cluster whose /etc/pve, /run and /proc are folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in (
            "bin",
            "etc/pve/nodes/node1/lxc",
            "etc/pve/nodes/node2/lxc",
            "run/qemu-server",
            "proc/net",
        ):
            (root / folder).mkdir(parents=True)
        (root / "etc/pve/nodes").chmod(0o755)
        self.unix = root / "proc/net/unix"
        self.unix.touch()
        text = AGENT.read_text(encoding="utf-8")
        for place in ("/etc/pve", "/run/qemu-server", "/proc/"):
            text = text.replace(place, f"{root}{place}")
        (root / "agent").write_text(text, encoding="utf-8")
        for name, script in {"python3": GUESTS, "uname": "#!/bin/sh\necho node1.rack.example\n",
                             "logger": '#!/bin/sh\necho "$3" >> "$ROOT/said"\n'}.items():  # fmt: skip
            (root / "bin" / name).write_text(script, encoding="utf-8")
            (root / "bin" / name).chmod(0o755)

    def __call__(self, action: str, sid: str = "ct:101", **environment: str) -> int:
        place = {"PATH": f"{self.root}/bin:{os.environ['PATH']}", "ROOT": str(self.root)}
        told = {f"OCF_RESKEY_{name}": value for name, value in environment.items()}
        return subprocess.run(
            ["sh", str(self.root / "agent"), action],
            env={**place, "OCF_RESKEY_sid": sid, **told}, capture_output=True, timeout=30, check=False,
        ).returncode  # fmt: skip

    def config(self, node: str) -> Path:
        return self.root / f"etc/pve/nodes/{node}/lxc/101.conf"

    def lines(self, name: str) -> list[str]:
        path = self.root / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    one = Agent(tmp_path)
    one.config("node1").touch()
    return one


RECURRING = {"CRM_meta_interval": "10000"}
OK, FAILED, ARGUMENTS, UNIMPLEMENTED, NOT_RUNNING = 0, 1, 2, 3, 7


def test_metadata_names_what_the_translation_asks_for() -> None:
    said = subprocess.run(["sh", str(AGENT), "meta-data"], capture_output=True, check=True, timeout=10)
    tree = ET.fromstring(said.stdout)
    timeouts = {one.attrib["name"]: int(one.attrib["timeout"][:-1]) for one in tree.iter("action")}
    assert timeouts.items() >= {
        "start": cib.START_S, "stop": cib.STOP_S, "migrate_to": cib.MIGRATE_S, "monitor": cib.START_S,
    }.items()  # fmt: skip
    assert [one.get("name") for one in tree.iter("parameter")] == ["sid"]


def test_start_stop_and_what_a_monitor_sees(agent: Agent) -> None:
    assert agent("monitor") == NOT_RUNNING
    assert agent("start") == OK
    assert agent("monitor") == agent("monitor", **RECURRING) == agent("start") == OK
    assert agent("stop") == OK
    assert agent("monitor") == NOT_RUNNING
    assert agent.lines("told") == ["start ct:101 ", "stop ct:101 "]


def test_a_guest_of_another_number_is_not_this_one(agent: Agent) -> None:
    agent.unix.write_text(
        "0: 2 @/var/lib/lxc/1101/command\n0: 2 @/var/lib/lxc/101/command2\n", encoding="utf-8"
    )
    assert agent("monitor") == NOT_RUNNING


def test_a_start_takes_the_guest_from_the_node_that_had_it(agent: Agent) -> None:
    agent.config("node1").rename(agent.config("node2"))
    assert agent("start") == OK
    assert agent.config("node1").exists() and not agent.config("node2").exists()


def test_a_guest_without_a_file_does_not_start(agent: Agent) -> None:
    agent.config("node1").unlink()
    assert agent("start") == FAILED
    assert not agent.lines("told")


def test_a_guest_that_died_is_started_by_the_recurring_monitor_alone(agent: Agent) -> None:
    assert agent("monitor", CRM_meta_interval="0") == NOT_RUNNING
    assert not agent.lines("told")
    assert agent("monitor", **RECURRING) == OK
    assert agent.lines("said") == ["starting service ct:101", "service status ct:101 started"]


def test_a_start_that_fails_is_a_failure(agent: Agent) -> None:
    (agent.root / "fails").touch()
    assert agent("monitor", **RECURRING) == agent("start") == FAILED
    assert agent.lines("said")[-1] == "unable to start service ct:101"


def test_without_quorum_a_monitor_starts_nothing(agent: Agent) -> None:
    (agent.root / "etc/pve/nodes").chmod(0o555)
    assert agent("monitor", **RECURRING) == NOT_RUNNING
    assert not agent.lines("told")


def test_a_guest_that_does_not_stop_is_a_failure(agent: Agent) -> None:
    agent("start")
    (agent.root / "fails").touch()
    assert agent("stop") == FAILED


def test_a_virtual_machine_runs_where_its_process_does(agent: Agent) -> None:
    assert agent("monitor", "vm:100") == NOT_RUNNING
    pid = agent.root / "run/qemu-server/100.pid"
    pid.write_text("4711\n", encoding="ascii")
    assert agent("monitor", "vm:100") == NOT_RUNNING
    (agent.root / "proc/4711").mkdir()
    (agent.root / "proc/4711/cmdline").write_bytes(b"sleep\x00100\x00")
    assert agent("monitor", "vm:100") == NOT_RUNNING
    (agent.root / "proc/4711/cmdline").write_bytes(
        b"qemu-system-x86_64\x00-pidfile\x00" + bytes(pid) + b"\x00"
    )
    assert agent("monitor", "vm:100") == agent("migrate_from", "vm:100") == OK


def test_a_migration(agent: Agent) -> None:
    assert agent("migrate_to", "vm:100", CRM_meta_migrate_target="node2") == OK
    assert agent.lines("told") == ["migrate vm:100 node2"]
    (agent.root / "fails").touch()
    assert agent("migrate_to", "vm:100", CRM_meta_migrate_target="node2") == FAILED
    assert agent("migrate_from", "vm:100") == NOT_RUNNING


def test_what_the_agent_does_not_know(agent: Agent) -> None:
    assert agent("monitor", "service:x") == ARGUMENTS
    assert agent("promote") == UNIMPLEMENTED


def script(tmp_path: Path, name: str) -> list[str]:
    text = (recipe.NODE_FILES / f"usr/libexec/rack/{name}").read_text(encoding="utf-8")
    (tmp_path / name).write_text(text.replace("/etc/pve", f"{tmp_path}/pve").replace("sleep 5", "sleep 0.05"))
    return ["sh", str(tmp_path / name)]


def test_the_daemons_begin_with_the_first_resource(tmp_path: Path) -> None:
    resources = tmp_path / "pve/ha/resources.cfg"
    resources.parent.mkdir(parents=True)
    resources.touch()
    with subprocess.Popen(
        [*script(tmp_path, "wait-for-ha"), "echo", "begun"], stdout=subprocess.PIPE
    ) as gate:
        with pytest.raises(subprocess.TimeoutExpired):
            gate.wait(0.3)
        resources.write_text("ct: 101\n", encoding="utf-8")
        assert gate.communicate(timeout=20)[0] == b"begun\n"


@pytest.mark.parametrize(
    ("result", "status", "kept"),
    [("success", "0", False), ("success", "100", True), ("exit-code", "1", True), ("signal", "KILL", True)],
)
def test_a_lock_is_freed_only_when_pacemaker_ended_in_order(
    tmp_path: Path, result: str, status: str, kept: bool
) -> None:
    node = os.uname().nodename.partition(".")[0]
    lock = tmp_path / f"pve/priv/lock/{locks.agent(node)}"
    lock.mkdir(parents=True)
    environment = {**os.environ, "SERVICE_RESULT": result, "EXIT_STATUS": status}
    subprocess.run(script(tmp_path, "free-agent-lock"), env=environment, check=True, timeout=10)
    assert lock.exists() is kept


def value(path: str, key: str) -> str:
    lines = (recipe.NODE_FILES / path).read_text(encoding="utf-8").splitlines()
    (found,) = [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]
    return found


def test_no_guest_starts_elsewhere_before_its_node_is_dead() -> None:
    """Times in seconds; sbd notices within 5 s (3 s io, 1 s loop, and rounding) that quorum is lost."""
    bite = int(value("etc/default/sbd", "SBD_WATCHDOG_TIMEOUT")) + 5
    assert 50 <= bite <= 70
    # A lock was refreshed at most a round before quorum was lost, and lives for two minutes.
    assert bite < cfs_rules.LOCK_LIFETIME_S - lrm.ACTIVE_ROUND_S
    assert bite < fence.NOT_BEFORE_S < cfs_rules.LOCK_LIFETIME_S - lrm.ACTIVE_ROUND_S
    # Who returns alive does so before it is to be fenced, or not at all.
    assert bite <= nodestates.FENCE_DELAY_S
    # A holder trusts its lock for less than anybody else has to wait for it.
    assert lrm.ACTIVE_ROUND_S < locks.TRUST_S < cfs_rules.LOCK_LIFETIME_S


def test_the_whole_of_fencing_fits_into_pacemakers_patience() -> None:
    """A new manager takes over after a lock's life and waits its minute; the node's lock is free by then."""
    assert cfs_rules.LOCK_LIFETIME_S + nodestates.FENCE_DELAY_S + 60 < cib.FENCE_S


@pytest.mark.parametrize("unit", ["pve-ha-crm.service", "pve-ha-lrm.service"])
def test_the_daemons_are_gated_and_named_in_the_journal(unit: str) -> None:
    text = (UNITS / unit).read_text(encoding="utf-8")
    module = unit.removeprefix("pve-ha-").removesuffix(".service")
    assert f"ExecStart=/usr/libexec/rack/wait-for-ha /usr/bin/python3 -m pve_standin.ha.{module}\n" in text
    assert f"SyslogIdentifier={unit.removesuffix('.service')}\n" in text
    assert "WantedBy=multi-user.target" in text


def test_nothing_of_pacemaker_starts_by_itself() -> None:
    assert {"pacemaker.service", "sbd.service", "lxc.service", "lxc-net.service"} <= set(recipe.DISABLED)
    assert "[Install]" not in (UNITS / "watchdog-mux.service").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    ["usr/lib/ocf/resource.d/rackproof/guest", "usr/sbin/ha-manager",
     "usr/sbin/fence_rackproof",
     "usr/libexec/rack/wait-for-ha", "usr/libexec/rack/free-agent-lock"],
)  # fmt: skip
def test_programs_can_be_executed(name: str) -> None:
    assert os.access(recipe.NODE_FILES / name, os.X_OK)

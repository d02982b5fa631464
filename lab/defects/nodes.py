"""Defects of installed nodes, made over ssh with the automation key that the rack seeded."""

from __future__ import annotations

import json

from lab.defects import scenarios
from lab.defects.defect import Defect, Memory, Place
from lab.errors import LabError
from lab.processes import run

CONNECT_S = 15
SMALL_MTU = 1400
SCRIPT_DEADLINE_S = 120.0
DROPIN = "/etc/ssh/sshd_config.d/00-left-over.conf"
KEPT = "/var/lib/rack-defect"
"""Where a node keeps what a defect has replaced."""


def shell(place: Place, script: str) -> str:
    """Run a POSIX sh script on the node as root; its output.

    Raises LabError when the node does not answer or the script fails; its last line of errors is quoted.
    """
    key = place.state.secrets / "ssh" / "ansible"
    argv = [
        "ssh", "-T", "-i", str(key), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
        "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", f"ConnectTimeout={CONNECT_S}",
        f"root@{place.server.address}", "sh -eu -s",
    ]  # fmt: skip
    done = run(argv, stdin=script, deadline_s=SCRIPT_DEADLINE_S, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        reason = said[-1] if said else f"status {done.returncode}"
        raise LabError(f"{place.target}: {reason} (this defect needs an installed node that runs)")
    return done.stdout


def aside(path: str) -> str:
    return f"{KEPT}/{path.strip('/').replace('/', '_')}"


def replace(place: Place, path: str, command: str) -> Memory:
    """Keep a file (or the link that it is) aside and let `command` make another."""
    kept = aside(path)
    shell(place, f"mkdir -p {KEPT}; [ -e {kept} ] || cp -a {path} {kept}; rm {path}; {command}")
    return {}


def put_back(place: Place, path: str) -> None:
    kept = aside(path)
    shell(place, f"[ -e {kept} ] || [ -L {kept} ] || exit 0; rm -f {path}; mv {kept} {path}; rmdir {KEPT}")


def _passwords(place: Place) -> Memory:
    shell(
        place,
        f"printf 'PasswordAuthentication yes\\nPermitRootLogin yes\\n' > {DROPIN}; systemctl reload ssh",
    )
    return {}


def _no_passwords(place: Place, _: Memory) -> None:
    shell(place, f"rm -f {DROPIN}; systemctl reload ssh")


def _stop_time(place: Place) -> Memory:
    shell(place, "systemctl disable --now chrony 2>&1")
    return {}


def _start_time(place: Place, _: Memory) -> None:
    shell(place, "systemctl enable --now chrony 2>&1")


def _rename(place: Place) -> Memory:
    before = shell(place, "hostname").strip()
    shell(place, "echo localhost > /etc/hostname; hostname localhost")
    return {"hostname": before}


def _rename_back(place: Place, memory: Memory) -> None:
    name = memory.get("hostname", place.target)
    shell(place, f"echo {name} > /etc/hostname; hostname {name}")


def _wrong_resolver(place: Place) -> Memory:
    path = "/etc/resolv.conf"
    return replace(place, path, f"echo 'nameserver 192.0.2.53' > {path}")


def _right_resolver(place: Place, _: Memory) -> None:
    put_back(place, "/etc/resolv.conf")


def _small_packets(place: Place) -> Memory:
    rows = json.loads(shell(place, "ip -j addr show"))
    own = place.server.address
    name = next((r["ifname"] for r in rows if any(a["local"] == own for a in r["addr_info"])), "")
    if not name:
        raise LabError(f"{place.target} has not the address {own}")
    shell(place, f"ip link set {name} mtu {SMALL_MTU}")
    return {"interface": name}


def _full_packets(place: Place, memory: Memory) -> None:
    if "interface" in memory:  # a VLAN takes the MTU of what it stands on
        below = memory["interface"].partition(".")[0]
        shell(place, f"ip link set {memory['interface']} mtu $(cat /sys/class/net/{below}/mtu)")


DEFECTS = (
    Defect("password-ssh-dropin", "a left-over sshd drop-in admits passwords", (scenarios.PASSWORDS,),
           _passwords, _no_passwords, "node", "node2"),
    Defect("no-time-sync", "chrony is stopped and disabled", (scenarios.NAMES_AND_TIME,),
           _stop_time, _start_time, "node", "node3"),
    Defect("wrong-hostname", "the node calls itself localhost", (scenarios.NAME,),
           _rename, _rename_back, "node", "node1"),
    Defect("wrong-resolver", "the node asks a name server that does not exist",
           (scenarios.NAMES_AND_TIME, scenarios.RESOLUTION),
           _wrong_resolver, _right_resolver, "node", "node2"),
    Defect("mtu-mismatch", f"the node's host interface takes no packet above {SMALL_MTU} bytes",
           (scenarios.FULL_SIZE, scenarios.HOST_NETWORK), _small_packets, _full_packets, "node", "node1"),
)  # fmt: skip

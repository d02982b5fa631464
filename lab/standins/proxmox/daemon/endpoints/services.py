"""/nodes/{node}/services: systemd's word on PVE's units."""

from __future__ import annotations

from typing import Any

from ..http import tasks
from ..http.machine import Machine
from ..http.registry import Call, check, endpoint

UNITS = {"sshd": "ssh"}
SERVICES = (
    "chrony", "corosync", "cron", "ksmtuned", "lxcfs", "postfix", "proxmox-firewall", "pve-cluster",
    "pve-firewall", "pve-ha-crm", "pve-ha-lrm", "pve-lxc-syscalld", "pvedaemon", "pvefw-logger", "pveproxy",
    "pvescheduler", "pvestatd", "qmeventd", "spiceproxy", "sshd", "syslog", "systemd-journald",
    "systemd-timesyncd",
)  # fmt: skip
SERVICE = {"type": "string", "enum": list(SERVICES)}
AUDIT = check("/nodes/{node}", "Sys.Audit")
MODIFY = check("/nodes/{node}", "Sys.Modify")


def states(machine: Machine, services: tuple[str, ...]) -> list[dict[str, str]]:
    """One systemctl call for all; a unit that is not there is told as PVE does: not-found, dead, unknown."""
    keys = "Id,Description,ActiveState,SubState,UnitFileState,LoadState"
    units = [f"{UNITS.get(name, name)}.service" for name in services]
    said = machine.run(["systemctl", "show", f"--property={keys}", *units], check=False).out
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in said.split("\n\n")
    ]
    found = []
    for name, unit, block in zip(services, units, [*blocks, *({} for _ in units)], strict=False):
        missing = block.get("LoadState", "not-found") == "not-found"
        found.append(
            {
                "service": name,
                "name": UNITS.get(name, name),
                "desc": unit if missing else block.get("Description", unit),
                "state": block.get("SubState") or "unknown",
                "active-state": block.get("ActiveState") or "unknown",
                "unit-state": "not-found" if missing else block.get("UnitFileState") or "unknown",
            }
        )
    return found


@endpoint("GET", "/nodes/{node}/services", permissions=AUDIT)
def services(call: Call) -> Any:
    return states(call.machine, SERVICES)


@endpoint("GET", "/nodes/{node}/services/{service}", permissions=AUDIT, parameters={"service": SERVICE})
def index(_call: Call) -> Any:
    return [{"subdir": name} for name in ("state", "start", "stop", "restart", "reload")]


@endpoint("GET", "/nodes/{node}/services/{service}/state", permissions=AUDIT, parameters={"service": SERVICE})
def state(call: Call) -> Any:
    return states(call.machine, (call.path["service"],))[0]


def _act(call: Call, verb: str, kind: str) -> str:
    """systemctl in a task. pveproxy and pvedaemon cannot stop the daemon that answers: they reload."""
    name = call.path["service"]
    own = name in ("pveproxy", "pvedaemon") and verb in ("restart", "reload")
    command = ["systemctl", "reload-or-restart" if own else verb, UNITS.get(name, name)]

    def work(log: tasks.Log) -> None:
        log(f"starting service {name}: systemctl {verb}")
        call.machine.run(command, timeout_s=180)

    return tasks.start(call, kind=kind, id=name, work=work)


@endpoint(
    "POST", "/nodes/{node}/services/{service}/start", permissions=MODIFY, parameters={"service": SERVICE}
)
def start(call: Call) -> Any:
    return _act(call, "start", "srvstart")


@endpoint(
    "POST", "/nodes/{node}/services/{service}/stop", permissions=MODIFY, parameters={"service": SERVICE}
)
def stop(call: Call) -> Any:
    return _act(call, "stop", "srvstop")


@endpoint(
    "POST", "/nodes/{node}/services/{service}/restart", permissions=MODIFY, parameters={"service": SERVICE}
)
def restart(call: Call) -> Any:
    return _act(call, "restart", "srvrestart")


@endpoint(
    "POST", "/nodes/{node}/services/{service}/reload", permissions=MODIFY, parameters={"service": SERVICE}
)
def reload(call: Call) -> Any:
    return _act(call, "reload", "srvreload")

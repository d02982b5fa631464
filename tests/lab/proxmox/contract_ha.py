"""Contract cases: high availability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.standins.proxmox.daemon.ha import files

from .conftest import NODE, Rig
from .contract import Case, Cases
from .contract_node import has

CT, VM = "ct:101", "vm:100"
RULE = {"rule": "prefers", "type": "node-affinity", "resources": CT, "nodes": f"{NODE}:2,pve-b:1"}


def with_guests(rig: Rig) -> None:
    """A cluster of two, a container and a virtual machine."""
    rig.cluster("pve-b")
    rig.machine.write(f"/etc/pve/nodes/{NODE}/lxc/101.conf", "hostname: beat\n")
    rig.machine.write("/etc/pve/nodes/pve-b/qemu-server/100.conf", "name: beat-vm\n")


def with_resources(rig: Rig) -> Mapping[str, str]:
    with_guests(rig)
    rig.call("POST", "/cluster/ha/resources", sid=CT, max_restart=3, comment="shop")
    rig.call("POST", "/cluster/ha/resources", sid="100", type="vm", state="stopped", failback=0)
    return {"sid": CT}


def with_rule(rig: Rig) -> Mapping[str, str]:
    with_resources(rig)
    rig.call("POST", "/cluster/ha/rules", **RULE)
    return {"rule": "prefers"}


def with_status(rig: Rig) -> None:
    with_resources(rig)
    status = {
        "master_node": NODE,
        "timestamp": 1788000000,
        "node_status": {NODE: "online", "pve-b": "fence"},
        "service_status": {CT: {"node": NODE, "state": "started", "running": 1, "uid": "x"}},
    }
    files.write_manager_status(rig.machine, status)
    files.write_lrm_status(rig.machine, {"state": "active", "mode": "active", "timestamp": 1788000000})


def stored(path: str, text: str) -> Any:
    def check(rig: Rig, _answer: Any) -> None:
        assert rig.machine.read(path) == text

    return check


def queued(command: str) -> Any:
    def check(rig: Rig, answer: Any) -> None:
        assert files.take_commands(rig.machine) == [command]
        assert answer == {"sid": CT, "requested-node": "pve-b"}

    return check


def told(rig: Rig, answer: Any) -> None:
    assert answer["manager_status"]["node_status"]["pve-b"] == "fence"
    assert answer["quorum"] == {"node": NODE, "quorate": "1"}
    assert answer["lrm_status"][NODE]["state"] == "active"


CREATED = "ct: 101\n\tfailback 1\n\tmax_relocate 1\n\tmax_restart 1\n\tstate started\n\n"
ADDED = f"""node-affinity: prefers
\tcomment web
\tnodes {NODE}:2,pve-b:1
\tresources ct:101
\tstrict 1

"""
CHANGED = "node-affinity: prefers\n\tdisable\n\tnodes pve-b\n\tresources ct:101\n\n"
RESOURCES, RULES = "/etc/pve/ha/resources.cfg", "/etc/pve/ha/rules.cfg"
SHOWN = {"sid": CT, "type": "ct", "state": "started", "max_restart": 3, "max_relocate": 1, "failback": 1}
FILE = """ct: 101
\tcomment shop
\tmax_restart 3

vm: 100
\tfailback 0
\tmax_relocate 2
\tstate disabled

"""
CASES: Cases = {
    ("GET", "/cluster/ha"): Case(check=has(id="rules")),
    ("GET", "/cluster/ha/groups"): Case(refusal="cannot index groups: ha groups have been migrated to rules"),
    ("GET", "/cluster/ha/resources"): Case(
        {"type": "ct"}, prepare=with_resources, check=has(comment="shop", **SHOWN)
    ),
    ("POST", "/cluster/ha/resources"): Case(
        {"sid": CT, "state": "started", "max_restart": 1, "max_relocate": 1, "failback": 1},
        prepare=with_guests,
        check=stored(RESOURCES, CREATED),
    ),
    ("GET", "/cluster/ha/resources/{sid}"): Case(prepare=with_resources, check=has(comment="shop", **SHOWN)),
    ("PUT", "/cluster/ha/resources/{sid}"): Case(
        {"state": "disabled", "max_relocate": 2},
        {"sid": "100"},
        lambda rig: with_resources(rig) and None,
        stored(RESOURCES, FILE),
    ),
    ("DELETE", "/cluster/ha/resources/{sid}"): Case(
        {"purge": 1},
        {"sid": CT},
        lambda rig: with_rule(rig) and None,
        stored(RULES, ""),
    ),
    ("POST", "/cluster/ha/resources/{sid}/migrate"): Case(
        {"node": "pve-b"}, prepare=with_resources, check=queued("migrate ct:101 pve-b")
    ),
    ("POST", "/cluster/ha/resources/{sid}/relocate"): Case(
        {"node": "pve-b"}, prepare=with_resources, check=queued("relocate ct:101 pve-b")
    ),
    ("GET", "/cluster/ha/rules"): Case(
        {"type": "node-affinity", "resource": CT}, prepare=with_rule, check=has(strict=0, **RULE)
    ),
    ("POST", "/cluster/ha/rules"): Case(
        {**RULE, "strict": 1, "comment": "web"},
        prepare=with_resources,
        check=stored(RULES, ADDED),
    ),
    ("GET", "/cluster/ha/rules/{rule}"): Case(prepare=with_rule, check=has(**RULE)),
    ("PUT", "/cluster/ha/rules/{rule}"): Case(
        {"type": "node-affinity", "nodes": "pve-b", "disable": 1},
        prepare=with_rule,
        check=stored(RULES, CHANGED),
    ),
    ("DELETE", "/cluster/ha/rules/{rule}"): Case(prepare=with_rule, check=stored(RULES, "")),
    ("GET", "/cluster/ha/status"): Case(check=has(name="current")),
    ("GET", "/cluster/ha/status/current"): Case(
        prepare=with_status,
        check=has(
            id="service:ct:101", state="started", crm_state="started", request_state="started", node=NODE
        ),
    ),
    ("GET", "/cluster/ha/status/manager_status"): Case(prepare=with_status, check=told),
}

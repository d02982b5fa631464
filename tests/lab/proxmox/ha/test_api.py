"""What the HA endpoints refuse, in Proxmox VE's words, and the command ha-manager."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from proxmoxer import ResourceException

from lab.standins.proxmox.daemon.cli import ha_manager, local
from lab.standins.proxmox.daemon.ha import files

from ..conftest import NODE, Rig
from ..contract_ha import CT, with_guests, with_resources, with_rule, with_status

RESOURCES, RULES = "/cluster/ha/resources", "/cluster/ha/rules"
NEGATIVE = {"type": "resource-affinity", "affinity": "negative"}


def refusal(rig: Rig, method: str, path: str, **params: Any) -> str:
    """Status, words and parameters of a refused call."""
    with pytest.raises(ResourceException) as caught:
        rig.call(method, path, **params)
    error = caught.value
    errors = (
        "".join(f"; {name}: {text}" for name, text in (error.errors or {}).items()) if error.errors else ""
    )
    return f"{error.status_code} {error.content}{errors}"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"sid": "ct:999"}, "500 resource 'ct:999' does not exist in cluster"),
        ({"sid": "999"}, "500 unable do add resource - VM/CT 999 does not exist"),
        ({"sid": "ct:100"}, "500 resource 'ct:100' - guest with ID 100 is not a container"),
        ({"sid": "vm:101"}, "500 resource 'vm:101' - guest with ID 101 is not a VM"),
        ({"sid": "service:x"}, "500 unknown resource type 'service'"),
        ({"sid": "ct:beat"}, "500 invalid VMID"),
        ({"sid": CT, "type": "vm"}, "500 types does not match"),
        ({"sid": CT, "max_restart": -1}, "minimum value of 0"),
        ({"sid": CT, "state": "running"}, "does not have a value in the enumeration"),
        (
            {"sid": CT, "group": "critical"},
            "invalid parameter 'group': ha groups have been migrated to rules",
        ),
    ],
)
def test_resources_that_cannot_be(rig: Rig, params: dict[str, Any], words: str) -> None:
    with_guests(rig)
    assert words in refusal(rig, "POST", RESOURCES, **params)
    assert rig.call("GET", RESOURCES) == []


def test_a_resource_is_there_once(rig: Rig) -> None:
    with_resources(rig)
    words = "500 create resource failed: resource ID 'ct:101' already defined"
    assert refusal(rig, "POST", RESOURCES, sid=CT) == words


def test_what_is_no_resource(rig: Rig) -> None:
    with_guests(rig)
    assert refusal(rig, "GET", f"{RESOURCES}/{CT}") == "500 no such resource 'ct:101'"
    assert refusal(rig, "PUT", f"{RESOURCES}/{CT}", state="started").endswith("no such resource 'ct:101'")
    assert refusal(rig, "DELETE", f"{RESOURCES}/{CT}").endswith(
        "cannot delete service 'ct:101', not HA managed!"
    )
    words = "500 resource 'ct:101' is not HA managed"
    assert refusal(rig, "POST", f"{RESOURCES}/{CT}/migrate", node="pve-b") == words


def test_a_change_of_what_somebody_else_changed(rig: Rig) -> None:
    with_resources(rig)
    path = f"{RESOURCES}/{CT}"
    digest = rig.call("GET", path)["digest"]
    rig.call("PUT", path, max_restart=2, digest=digest)
    assert "file changed by other user" in refusal(rig, "PUT", path, max_restart=1, digest=digest)


def test_settings_can_be_taken_away(rig: Rig) -> None:
    with_resources(rig)
    rig.call("PUT", f"{RESOURCES}/{CT}", delete="max_restart,comment")
    assert rig.machine.read("/etc/pve/ha/resources.cfg").startswith("ct: 101\n\nvm: 100")
    assert "no such option 'colour'" in refusal(rig, "PUT", f"{RESOURCES}/{CT}", delete="colour")


def test_a_service_in_error_must_be_disabled_first(rig: Rig) -> None:
    with_resources(rig)
    files.write_manager_status(rig.machine, {"service_status": {CT: {"state": "error", "node": NODE}}})
    words = "500 service 'ct:101' in error state, must be disabled and fixed first"
    assert refusal(rig, "PUT", f"{RESOURCES}/{CT}", state="started") == words
    assert refusal(rig, "POST", f"{RESOURCES}/{CT}/relocate", node="pve-b") == words
    rig.call("PUT", f"{RESOURCES}/{CT}", state="disabled")


def test_without_quorum_nothing_changes(rig: Rig) -> None:
    with_resources(rig)
    nodes = {NODE: {"id": 1, "online": 1, "ip": "127.0.0.1"}}
    said = {"nodename": NODE, "cluster": {"quorate": 0}, "nodelist": nodes}
    rig.machine.write("/etc/pve/.members", json.dumps(said))
    words = "500 cluster not ready - no quorum?"
    assert refusal(rig, "PUT", f"{RESOURCES}/{CT}", state="stopped") == words
    assert refusal(rig, "POST", f"{RESOURCES}/{CT}/migrate", node="pve-b") == words
    assert refusal(rig, "DELETE", f"{RULES}/prefers") == words
    assert rig.call("GET", "/cluster/ha/status/current")[0]["quorate"] == 0


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"type": "node-affinity", "resources": CT}, "nodes: property is missing and it is not optional"),
        ({"type": "resource-affinity", "resources": CT}, "affinity: property is missing"),
        ({**NEGATIVE, "resources": CT, "nodes": NODE}, "unexpected property 'nodes'"),
        (
            {"type": "node-affinity", "resources": "ct:7", "nodes": NODE},
            "cannot use unmanaged resource(s) ct:7.",
        ),
        ({"type": "node-affinity", "resources": CT, "nodes": "x"}, "cannot use non-existant node(s) x."),
        ({"type": "node-affinity", "resources": CT, "nodes": "a:b"}, "nodes: invalid format"),
        ({"type": "node-affinity", "resources": "101", "nodes": NODE}, "resources: invalid format"),
        (
            {"type": "node-affinity", "resources": CT, "nodes": NODE},
            "400 Rule 'second' is invalid. resources: resource 'ct:101' is already used in another",
        ),
        ({**NEGATIVE, "resources": CT}, "rule is ineffective as there are less than two resources"),
    ],
)
def test_rules_that_cannot_be(rig: Rig, params: dict[str, Any], words: str) -> None:
    with_rule(rig)
    before = rig.machine.read("/etc/pve/ha/rules.cfg")
    assert words in refusal(rig, "POST", RULES, rule="second", **params)
    assert rig.machine.read("/etc/pve/ha/rules.cfg") == before


def test_a_rule_is_there_once_and_keeps_its_kind(rig: Rig) -> None:
    with_rule(rig)
    rule = {"resources": CT, "nodes": NODE, "type": "node-affinity"}
    assert refusal(rig, "POST", RULES, rule="prefers", **rule).endswith("HA rule 'prefers' already defined")
    assert refusal(rig, "PUT", f"{RULES}/absent", **rule).endswith("HA rule 'absent' does not exist")
    words = refusal(rig, "PUT", f"{RULES}/prefers", type="resource-affinity", affinity="negative")
    assert words.endswith("rule 'prefers' is of type 'node-affinity'")
    words = refusal(rig, "PUT", f"{RULES}/prefers", type="node-affinity", delete="nodes")
    assert words.endswith("unable to delete required option 'nodes'")
    assert refusal(rig, "GET", f"{RULES}/absent") == "500 no such ha rule 'absent'"


def test_a_rule_that_contradicts_shows_it(rig: Rig) -> None:
    with_rule(rig)
    rules = rig.machine.read("/etc/pve/ha/rules.cfg")
    rig.machine.write("/etc/pve/ha/rules.cfg", rules + rules.replace("prefers", "too"))
    errors = {one["rule"]: one["errors"]["resources"] for one in rig.call("GET", RULES)}
    text = "resource 'ct:101' is already used in another node affinity rule"
    assert errors == {"prefers": [text], "too": [text]}
    rig.call("PUT", f"{RULES}/too", type="node-affinity", disable=1)
    assert all("errors" not in one for one in rig.call("GET", RULES))
    assert "400 Rule 'too' is invalid" in refusal(rig, "PUT", f"{RULES}/too", type="node-affinity", disable=0)


@pytest.fixture
def command(rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run `ha-manager WORDS...`; its exit code, output and complaints."""
    monkeypatch.setattr(local, "this_node", lambda: rig.machine)
    monkeypatch.setattr("os.geteuid", lambda: 0)

    def run(words: str) -> tuple[int, str, str]:
        code = ha_manager.main(words.split())
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_the_command_changes_resources_and_rules(rig: Rig, command: Any) -> None:
    with_guests(rig)
    assert command("add 101 --state started --max_restart 2") == (0, "", "")
    assert command("set ct:101 --max_relocate 3")[0] == 0
    shown = "ct:101\n\tfailback 1\n\tmax_relocate 3\n\tmax_restart 2\n\tstate started\n\n"
    assert command("config") == (0, shown, "")
    assert command(f"rules add node-affinity prefers --resources ct:101 --nodes {NODE}:2,pve-b:1")[0] == 0
    assert command("rules set node-affinity prefers --strict 1")[0] == 0
    code, out, _ = command("rules config --output-format json")
    assert (code, json.loads(out)[0]["strict"]) == (0, 1)
    for words in (
        "migrate ct:101 pve-b",
        "crm-command relocate ct:101 pve-b",
        "crm-command node-maintenance enable pve-b",
    ):
        assert command(words) == (0, "", "")
    assert files.take_commands(rig.machine) == [
        "migrate ct:101 pve-b",
        "relocate ct:101 pve-b",
        "enable-node-maintenance pve-b",
    ]
    assert command("rules remove prefers")[0] == command("remove ct:101")[0] == 0
    assert not rig.machine.read("/etc/pve/ha/resources.cfg")


def test_the_command_shows_the_status(rig: Rig, command: Any) -> None:
    with_status(rig)
    code, out, _ = command("status")
    lines = [re.sub(r"\w{3} \w{3} .\d \S+ \d{4}", "TIME", line) for line in out.splitlines()]
    assert code == 0
    assert lines == [
        "quorum OK",
        f"master {NODE} (old timestamp - dead?, TIME)",
        "fencing standby (CRM watchdog standby)",
        f"lrm {NODE} (old timestamp - dead?, watchdog standby, TIME)",
        "lrm pve-b (unable to read lrm status)",
        f"service ct:101 ({NODE}, started)",
        "service vm:100 (pve-b, queued)",
    ]
    verbose = command("status --verbose")[1]
    assert json.loads(verbose.partition("full cluster state:\n")[2])["quorum"]["quorate"] == "1"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "no command specified"),
        ("frobnicate", "unknown command 'frobnicate'"),
        ("add", "not enough arguments"),
        ("status now", "too many arguments"),
        ("migrate ct:101 pve-b", "resource 'ct:101' is not HA managed"),
        ("crm-command node-maintenance enable", "<enable|disable> <node>"),
        ("crm-command node-maintenance enable pve-z", "no such cluster node 'pve-z'"),
    ],
)
def test_what_the_command_refuses(rig: Rig, command: Any, words: str, complaint: str) -> None:
    with_guests(rig)
    code, out, err = command(words)
    assert (code, out) == (255, "") and complaint in err

"""Phase 7 made true, asked twice, killed, taken back: its actions against a cluster in memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import DeadlineError, NotConvergedError, RefusedError
from cluster.pve import PveError
from cluster.site import ROOT, Site, load
from provisioners.change import Change
from provisioners.converge import CannotApplyError, converge, plan, rollback
from provisioners.guests import images
from provisioners.guests.order import description, image
from provisioners.ha import actions, fencing
from provisioners.ha.phase import PHASE
from tests.lab.proxmox import pve_schema
from tests.provisioners.ha_world import World

FIRST, SECOND = "pve1-node1", "pve1-node2"


@pytest.fixture(scope="module")
def site() -> Site:
    return load(ROOT / "sites/pve1.toml")


@pytest.fixture
def world(site: Site, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = World(site)

    def build(cluster: Any, guest: Any, folder: Path, progress: Any) -> Path:
        file = folder / image(site, guest)
        file.write_bytes(b"image")
        return file

    monkeypatch.setattr(images, "build", build)
    monkeypatch.setattr(actions, "play", made.play)
    monkeypatch.setattr(fencing, "play", made.play)
    monkeypatch.setattr(actions, "POLL_S", 0.0)
    return made


def quiet(_: str) -> None: ...


def run(world: Any, mode: Any = "missing") -> list[Change]:
    changes: list[Change] = []
    converge(PHASE, world, mode, record=changes.append, progress=quiet)
    return changes


def writes(world: World) -> list[Any]:
    return [entry for entry in world.log if entry[0] != "get"]


def test_everything_is_made_and_a_second_run_changes_nothing(world: World, site: Site) -> None:
    run(world)
    assert {vmid: guest["node"] for vmid, guest in world.guests.items()} == {9001: FIRST, 9002: SECOND}
    assert all(guest["status"] == "running" for guest in world.guests.values())
    assert world.resources["vm:9002"] == {
        "state": "started", "max_restart": "3", "max_relocate": "3", "failback": "0",
    }  # fmt: skip
    assert world.rules["rackproof-beat-ct"]["nodes"] == "pve1-node1:2,pve1-node2:1,pve1-node3:1"
    assert world.options == {}  # the ordered policy is Proxmox VE's own
    assert {machine.held for machine in world.nodes.values()} == {"ipmi_watchdog"}
    world.log.clear()
    assert run(world) == []
    assert writes(world) == []


def test_a_plan_touches_nothing(world: Any) -> None:
    assert {change.action for change in plan(PHASE, world)} >= {"watchdog", "guests", "resources", "rules"}
    assert writes(world) == []


def test_only_looking_fails_with_the_difference(world: World) -> None:
    with pytest.raises(NotConvergedError, match=r"make the container beat-ct \(9001\)"):
        run(world, "never")
    assert writes(world) == []


def test_resources_come_before_the_rules_that_name_them(world: World) -> None:
    run(world)
    paths = [path for method, path, _ in world.log if method == "post"]
    assert paths.index("cluster/ha/resources") > paths.index(f"nodes/{FIRST}/lxc")
    assert paths.index("cluster/ha/rules") > paths.index("cluster/ha/resources")


@pytest.mark.parametrize("moment", range(12))
def test_a_run_that_is_killed_at_any_write_is_taken_up_by_the_next(world: World, moment: int) -> None:
    """Killed before the write: what came before it stays."""
    left = [moment]

    def kill(method: str, path: str) -> None:
        if method != "get":
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt

    world.hook = kill
    with pytest.raises(KeyboardInterrupt):
        run(world)
    world.hook = lambda method, path: None
    run(world)
    assert len(world.guests) == len(world.resources) == len(world.rules) == 2
    assert run(world) == []


def test_all_that_is_asked_of_the_api_is_in_its_schema(world: World, site: Site) -> None:
    if not pve_schema.PATH.exists():
        pytest.skip("no copy of Proxmox VE's API schema beside this checkout")
    run(world)
    world.guests[9001]["config"]["memory"] = "32"  # made anew
    world.resources["vm:9002"]["max_restart"] = "1"
    world.rules["rackproof-beat-vm"]["disable"] = "1"
    world.states["vm:9002"] = "error"
    run(world)
    rollback(PHASE, world, progress=quiet)  # type: ignore[arg-type]
    schema = pve_schema.load()
    asked = [entry for entry in world.log if entry[0] in {"get", "post", "put", "delete"}]
    assert len({(method, path) for method, path, _ in asked}) > 15
    for method, path, values in asked:
        properties = parameters_of(schema, method, path)
        for name, value in values.items():
            kind = properties.get(re.sub(r"\d+$", "[n]", name)) or properties.get(name)
            assert kind is not None, f"{method} {path} has no parameter {name}"
            if not isinstance(kind.get("format"), dict):
                assert list(pve_schema.problems(kind, value)) == [], (method, path, name)
            else:
                for part in str(value).split(",")[1:]:
                    assert part.partition("=")[0] in kind["format"], (method, path, name, part)


def parameters_of(schema: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    for template, entry in schema.items():
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", template)
        if re.fullmatch(pattern, f"/{path}") and method.upper() in entry["methods"]:
            found: dict[str, Any] = entry["methods"][method.upper()].get("parameters", {})
            inner: dict[str, Any] = found.get("properties", found)
            return inner
    raise AssertionError(f"{method} {path} is not in the API")


def test_a_guest_that_differs_is_made_anew_and_kept_again(world: World, site: Site) -> None:
    run(world)
    world.guests[9001]["config"]["memory"] = "32"
    world.log.clear()
    run(world)
    assert [path for _, path, _ in world.calls("delete")] == [
        "cluster/ha/resources/ct:9001",
        f"nodes/{FIRST}/lxc/9001",
    ]
    assert world.calls("delete", "lxc/9001")[0][2] == {"purge": 1}
    assert world.guests[9001]["config"]["memory"] == "64" and "ct:9001" in world.resources
    assert world.calls("post", "qemu") == []


def test_a_guest_of_another_is_not_touched_and_stops_the_phase(world: World) -> None:
    config = {"memory": "64", "tags": "web"}
    world.guests[9002] = {
        "type": "qemu", "node": SECOND, "name": "accounting", "status": "running", "config": config,
    }  # fmt: skip
    with pytest.raises(CannotApplyError, match="'accounting' has it, which is not ours"):
        run(world)
    assert writes(world) == []
    rollback(PHASE, world, progress=quiet)  # type: ignore[arg-type]
    assert world.guests[9002]["status"] == "running"


def test_what_an_earlier_run_began_is_waited_for(world: World, site: Site) -> None:
    world.guests[9001] = {
        "type": "lxc", "node": FIRST, "name": "", "status": "stopped", "config": {"lock": "create"},
    }  # fmt: skip
    world.tasks["vzcreate"] = ["UPID:pve1-node1:1:2:3:vzcreate:9001:root@pam:"]
    with pytest.raises(CannotApplyError, match="pct unlock"):  # the task ended and left it half made
        run(world)
    assert world.waited == ["UPID:pve1-node1:1:2:3:vzcreate:9001:root@pam:"]


class TestWatchdog:
    def test_one_that_is_in_use_is_chosen_and_left_in_force(self, world: World) -> None:
        world.nodes[SECOND].used = True
        with pytest.raises(RefusedError, match=f"{SECOND}: the watchdog ipmi_watchdog is chosen"):
            run(world)
        told = {
            entry[2]["nodes"][0]: entry[2]["ha_watchdog_restart"] for entry in world.calls("play", "ha main")
        }
        assert told == {FIRST: True, SECOND: False, "pve1-node3": True}
        assert world.nodes[SECOND].configured == "ipmi_watchdog" and world.nodes[SECOND].held == "softdog"

    def test_an_ipmi_watchdog_cuts_the_power(self, world: World) -> None:
        run(world)
        (options,) = {entry[2]["ha_watchdog_options"] for entry in world.calls("play", "ha main")}
        assert options == "action=power_cycle panic_wdt_timeout=10"


@pytest.mark.parametrize("kept", [True, False])
def test_services_are_started_and_the_watchdogs_once_something_is_kept(world: World, kept: bool) -> None:
    if kept:
        run(world)
    world.nodes[SECOND].down = {"pve-ha-lrm", "watchdog-mux"}
    world.log.clear()
    run(world)
    (first, *_) = world.calls("play", "ha services")
    assert first[2]["nodes"] == [SECOND]
    assert ("watchdog-mux" in first[2]["ha_services"]) is kept
    assert not world.nodes[SECOND].down


def test_the_fencing_service_is_told_who_the_nodes_are(world: World, site: Site) -> None:
    run(world)
    ((_, _, told),) = world.calls("play", "fencing main")
    assert told["nodes"] == [node.name for node in site.nodes]
    assert told["fencing_wait_s"] == 75 and told["fencing_parameters_root"] == "/pve1"
    assert told["fencing_ca_file"] == ""
    assert told["fencing_peers"][1] == {
        "name": SECOND, "id": 2, "serial": "REPLACE-NODE2", "address": "10.20.0.12", "port": 443,
        "user": "/pve1/nodes/node2/ipmi_user", "password": "/pve1/nodes/node2/ipmi_password",
    }  # fmt: skip


def test_issuers_of_several_bmcs_are_put_into_one_file(
    world: World, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = []
    for number, node in enumerate(site.nodes):
        file = tmp_path / f"{min(number, 1)}.pem"
        file.write_text(f"issuer {min(number, 1)}\n")
        nodes.append(node.model_copy(update={"bmc": node.bmc.model_copy(update={"ca_file": file})}))
    world.site = site.model_copy(update={"nodes": tuple(nodes)})
    given: list[str] = []

    def play(*args: Any, **named: Any) -> None:
        given.append(Path(args[3]["fencing_ca_file"]).read_text())

    monkeypatch.setattr(fencing, "play", play)
    fencing.Fencing().apply(world, [Change(FIRST, "", "fencing")], quiet)  # type: ignore[arg-type]
    assert given == ["issuer 0\nissuer 1\n"]


def test_a_given_up_guest_is_disabled_before_it_is_taken_up_again(world: World) -> None:
    run(world)
    world.states["ct:9001"] = "error"
    world.log.clear()
    run(world)
    states = [values["state"] for _, path, values in world.calls("put", "resources/ct:9001")]
    assert states == ["disabled", "started"]
    assert world.states["ct:9001"] == "started"


def test_a_guest_that_does_not_come_up_is_waited_for_no_longer_than_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(world)
    monkeypatch.setattr(actions, "SETTLE_S", 0.05)
    world.states["ct:9001"] = "fence"
    with pytest.raises(DeadlineError, match="ct:9001 is fence"):
        run(world)


def test_the_policy_of_before_comes_back(world: World, site: Site) -> None:
    world.options["ha"] = "shutdown_policy=migrate"
    run(world)
    assert world.options["ha"] == "shutdown_policy=conditional"
    rollback(PHASE, world, progress=quiet)  # type: ignore[arg-type]
    assert world.options["ha"] == "shutdown_policy=migrate"
    assert not world.nodes[FIRST].files


def test_taking_it_back_leaves_others_things_alone(world: World, site: Site) -> None:
    run(world)
    web = {"type": "qemu", "node": FIRST, "name": "web", "status": "running", "config": {}}
    world.guests[100] = web
    world.resources["vm:100"] = {"state": "started"}
    world.rules["web"] = {"type": "node-affinity", "resources": "vm:100", "nodes": FIRST}
    rollback(PHASE, world, progress=quiet)  # type: ignore[arg-type]
    assert world.guests == {100: web}
    assert list(world.resources) == ["vm:100"] and list(world.rules) == ["web"]
    assert not any(machine.fencing for machine in world.nodes.values())


def test_a_guest_is_never_made_where_nobody_tells_which_there_are(world: World) -> None:
    def refuse(method: str, path: str) -> None:
        if path == "cluster/resources":
            raise PveError("no", 403)

    world.hook = refuse
    with pytest.raises(PveError):
        run(world)
    assert writes(world) == []


def test_notes_name_the_recipe(world: World, site: Site) -> None:
    run(world)
    assert world.guests[9001]["config"]["description"] == description(site, site.guests[0])

"""Creating, joining, taking off and saving: what is asked of whom, in which order, after a kill too."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.aws import Parameter
from cluster.errors import DeadlineError, NotConvergedError, RefusedError, UnreachableError
from cluster.pve import PveError
from cluster.site import Site
from provisioners.change import Change
from provisioners.converge import converge, rollback
from provisioners.membership import joining, observation, saving, separating, settings, views, waiting
from provisioners.membership.corosync_conf import parse, render
from provisioners.membership.observation import NodeMembership, Observation, digest, stored
from provisioners.membership.phase import PHASE, MembershipPhase
from provisioners.membership.settings import ConfigurationChange, refuse_parting, variables
from tests.provisioners.memberships import all_joined, conf, conf_text, good_member, lonely, with_node

KEY = b"the cluster's key"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n"  # the DER form is b"a"
PRINT = "CA:97:81:12:CA:1B:BD:CA:FA:C2:31:B3:9A:23:DC:4D:A7:86:EF:F8:14:7C:4E:72:B9:80:77:85:AF:EE:48:BB"


@dataclass
class World:
    """A cluster in memory: the nodes' views follow what the API and the nodes are asked."""

    site: Site
    nodes_seen: dict[str, NodeMembership] = field(default_factory=dict)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    running: dict[str, str] = field(default_factory=dict)  # task of a run before, by node
    killed_after: str = ""  # the line of the log at which the run dies

    def __post_init__(self) -> None:
        self.nodes_seen = {node.name: lonely(self.site, node.name) for node in self.site.nodes}
        self.nodes = {node.name: FakeNode(self, node.name) for node in self.site.nodes}
        self.pve = {node.name: FakePve(self, node.name) for node in self.site.nodes}
        self.ssh = None
        self.aws = self.secrets = self

    def say(self, line: str) -> None:
        self.log.append(line)
        if self.killed_after and line.startswith(self.killed_after):
            self.killed_after = ""
            raise KeyboardInterrupt

    # -- the parameter store

    def tree(self) -> Mapping[str, Parameter]:
        return self.parameters

    def forget(self) -> None:
        return

    def resolve(self, reference: str, **fields: str) -> str:
        return f"password of {fields['node']}"

    def put_parameter(self, name: str, value: str, *, secret: bool = False) -> int:
        known = self.parameters.get(name)
        assert known is None or known.secret == secret, "a parameter cannot change its type"
        self.parameters[name] = Parameter(name, "SecureString" if secret else "String", value, 1)
        self.say(f"put {name}")
        return 1

    def delete_parameter(self, name: str) -> None:
        del self.parameters[name]

    # -- the cluster

    @property
    def text(self) -> str:
        return next(n.conf.text for n in self.nodes_seen.values() if n.conf is not None)

    def stands(self, text: str) -> None:
        """Every member has this configuration in force."""
        have = conf(text)
        names = [entry.name for entry in have.entries]
        for name in names:
            if name in self.nodes_seen and self.nodes_seen[name].conf is not None:
                self.nodes_seen[name] = self.member(name, text)

    def member(self, name: str, text: str) -> NodeMembership:
        have = conf(text)
        names = [entry.name for entry in have.entries]
        known = self.nodes_seen[name].migration
        others = [n.migration for n in self.nodes_seen.values() if n.conf is not None]
        return replace(
            good_member(self.site, name),
            conf=have,
            local=have,
            key=digest(KEY),
            votes={entry.nodeid: 1 for entry in have.entries},
            expected_votes=len(names),
            version=have.version,
            token=have.token + max(0, len(names) - 2) * have.coefficient,
            links=(),
            online=dict.fromkeys(names, True),
            folders=dict.fromkeys(names, ()),
            files={"corosync.conf": digest(text)},
            migration=others[0] if others else known,
        )


@dataclass
class FakeNode:
    world: World
    name: str

    @property
    def spec(self) -> Any:
        return self.world.site.node(self.name)

    def run(self, command: str, *args: str, data: Any = None, **_: Any) -> Any:
        world, out, rc = self.world, "", 0
        seen = world.nodes_seen[self.name]
        if command == waiting._ASK:
            rows = "".join(f"  {n}  1 node{n}\n" for n in seen.votes)
            quorate = "Yes" if seen.quorate else "No"
            out = f"Quorate:          {quorate}\nMembership information\n{rows}mode 755\n"
        elif "pve-ssl.pem" in command:
            out = CERTIFICATE
        elif "base64" in command:
            world.say(f"{self.name} reads its key")
            out = base64.b64encode(KEY).decode()
        elif data is not None:
            assert args == (seen.files["corosync.conf"],)
            world.say(f"{self.name} writes corosync.conf")
            world.stands(data)
        elif command.startswith("rm -rf"):
            world.say(command % args)
        elif command == separating._HELD:
            out = "".join(f"guest {guest}\n" for guest in seen.guests)
        return SimpleNamespace(ok=rc == 0, rc=rc, stdout=out, stderr="")


@dataclass
class FakePve:
    world: World
    name: str

    def forget(self) -> None:
        return

    def running(self, kind: str) -> list[str]:
        return [kind] if self.world.running.get(self.name) == kind else []

    def wait(self, upid: str, deadline_s: float, progress: Any = None) -> None:
        self.world.say(f"{self.name} waits for {upid}")
        del self.world.running[self.name]
        self._finish(upid)

    def call(self, method: str, path: str, **params: Any) -> Any:
        world = self.world
        if path == "version":
            return {}
        world.say(f"{self.name} {method} {path} {params}")
        if method == "delete":
            gone = path.rsplit("/", 1)[1]
            root = parse(world.text)
            for node in root.one("nodelist").all("node"):
                if node.keys["name"] == gone:
                    root.one("nodelist").drop(node)
            for name, seen in world.nodes_seen.items():
                if seen.conf is not None:
                    world.nodes_seen[name] = world.member(name, render(root))
        elif path == "cluster/options":
            kind, network = (part.split("=")[1] for part in params["migration"].split(","))
            for name, seen in world.nodes_seen.items():
                world.nodes_seen[name] = replace(seen, migration=(kind, network))
        return None

    def task(self, method: str, path: str, deadline_s: float, progress: Any = None, **params: Any) -> None:
        kind = "clustercreate" if path == "cluster/config" else "clusterjoin"
        self.world.running[self.name] = kind
        self.world.say(f"{self.name} {method} {path} {params}")
        del self.world.running[self.name]
        self._finish(kind)

    def _finish(self, kind: str) -> None:
        world, site = self.world, self.world.site
        full = parse(conf_text(site, 1))
        full.one("totem").keys.pop("token", None)
        listed = {self.name}
        if kind == "clusterjoin":
            listed |= {entry.name for entry in conf(world.text).entries}
            full.one("totem").keys["config_version"] = str(conf(world.text).version + 1)
        for node in full.one("nodelist").all("node"):
            if node.keys["name"] not in listed:
                full.one("nodelist").drop(node)
        text = render(full)
        for name in listed:
            world.nodes_seen[name] = world.member(name, text)


@pytest.fixture
def world(site: Site, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(site)

    def look(_: Any, names: list[str]) -> dict[str, NodeMembership]:
        return {name: made.nodes_seen[name] for name in names}

    def observe(_: Any) -> Observation:
        return Observation(dict(made.nodes_seen), stored(made))  # type: ignore[arg-type]

    for module in (observation, views):
        monkeypatch.setattr(module, "look", look)
    monkeypatch.setattr("provisioners.membership.phase.observe", observe)
    monkeypatch.setattr(waiting, "POLL_S", 0.0)
    monkeypatch.setattr(saving, "Node", lambda spec, _ssh: made.nodes[spec.name])

    def play(_: Any, role: str, names: list[str], *__: Any, **options: Any) -> dict[str, list[str]]:
        made.say(f"role {role} {options.get('tasks_from', 'main')} on {', '.join(names)}")
        if options.get("tasks_from") == "separate":
            for name in names:
                made.nodes_seen[name] = lonely(made.site, name)
        return {}

    for actor in (settings, separating):
        monkeypatch.setattr(actor, "play", play)
    return made


def run(world: World) -> Observation:
    return converge(PHASE, world, record=lambda _: None, progress=lambda _: None)  # type: ignore[arg-type]


def asked(world: World) -> list[str]:
    """The log without the parameters of each call."""
    return [line.split(" {")[0] for line in world.log]


def test_from_three_lone_nodes_to_a_cluster(world: World) -> None:
    run(world)
    assert asked(world) == [
        "node1 post cluster/config",
        "node2 post cluster/config/join",
        "node3 post cluster/config/join",
        "node1 writes corosync.conf",
        "node1 put cluster/options",
        "put /pve1/cluster/corosync_conf",
        "node1 reads its key",
        "put /pve1/cluster/corosync_key",
        "put /pve1/cluster/cluster_id",
        "put /pve1/cluster/nodes",
    ]
    world.log.clear()
    run(world)
    assert world.log == [], "asked twice, done once"


def test_what_is_asked_of_the_api(world: World, site: Site) -> None:
    run(world)
    create = {
        "clustername": "pve1", "nodeid": 1, "votes": 1,
        "link0": "address=10.6.0.11,priority=20", "link1": "address=10.7.0.11,priority=10",
    }  # fmt: skip
    join = {
        "votes": 1, "link0": "address=10.6.0.12", "link1": "address=10.7.0.12", "nodeid": 2,
        "hostname": "10.6.0.11", "fingerprint": PRINT, "password": "password of node1",
    }  # fmt: skip
    assert world.log[0] == f"node1 post cluster/config {create}"
    assert world.log[1] == f"node2 post cluster/config/join {join}"
    assert "{'migration': 'type=secure,network=10.6.0.0/24'}" in "".join(world.log)
    kept = world.parameters
    assert base64.b64decode(kept["/pve1/cluster/corosync_key"].value) == KEY
    assert base64.b64decode(kept["/pve1/cluster/corosync_conf"].value).decode() == world.text
    secret = {name.rsplit("/", 1)[1] for name, entry in kept.items() if entry.secret}
    assert secret == {"corosync_key", "corosync_conf"}
    assert kept["/pve1/cluster/nodes"].value == ",".join(node.name for node in site.nodes)


@pytest.mark.parametrize(
    "moment",
    [
        *("node1 post", "node2 post", "node3 post", "node1 writes", "node1 put", "node1 reads"),
        *("put /pve1/cluster/corosync_conf", "put /pve1/cluster/corosync_key", "put /pve1/cluster/nodes"),
    ],
)
def test_a_run_that_was_killed_converges_when_run_again(world: World, moment: str) -> None:
    world.killed_after = moment
    with pytest.raises(KeyboardInterrupt):
        run(world)
    run(world)
    assert PHASE.missing(world.site, Observation(dict(world.nodes_seen), stored(world))) == []  # type: ignore[arg-type]
    calls = asked(world)
    for call in ("node1 post cluster/config", "node2 post cluster/config/join"):
        assert calls.count(call) == 1, "what the daemon goes on with is not begun twice"


def test_a_key_that_stood_in_the_open_is_made_anew(world: World) -> None:
    name = "/pve1/cluster/corosync_conf"
    world.parameters[name] = Parameter(name, "String", "old", 1)
    run(world)
    assert world.parameters[name].secret


def test_a_listed_node_that_holds_nothing_is_taken_off_and_joins_again(world: World) -> None:
    run(world)
    world.log.clear()
    world.nodes_seen["node2"] = lonely(world.site, "node2")
    for name in ("node1", "node3"):
        seen = world.nodes_seen[name]
        world.nodes_seen[name] = replace(seen, online={**seen.online, "node2": False})
    run(world)
    assert asked(world)[:2] == ["node1 delete cluster/config/nodes/node2", "node2 post cluster/config/join"]


def test_a_node_that_others_see_online_is_not_taken_off(world: World) -> None:
    run(world)
    world.nodes_seen["node2"] = lonely(world.site, "node2")
    with pytest.raises(RefusedError, match="node2: not taken off the list: node1 sees it online"):
        run(world)


def test_a_half_joined_node_is_freed_first(world: World) -> None:
    run(world)
    world.log.clear()
    world.nodes_seen["node2"] = replace(world.nodes_seen["node2"], conf=None)
    for name in ("node1", "node3"):
        seen = world.nodes_seen[name]
        world.nodes_seen[name] = replace(seen, online={**seen.online, "node2": False})
    run(world)
    assert asked(world)[:3] == [
        "node1 delete cluster/config/nodes/node2",
        "role membership separate on node2",
        "node2 post cluster/config/join",
    ]


def test_a_former_node_goes_with_its_folder(world: World) -> None:
    run(world)
    world.log.clear()
    text = world.text.replace(
        "nodelist {\n", "nodelist {\n  node {\n    name: node9\n    nodeid: 9\n  }\n", 1
    )
    for name in list(world.nodes_seen):
        seen = world.member(name, text)
        folders: dict[str, tuple[str, ...]] = {**seen.folders, "node9": ()}
        online, votes = {**seen.online, "node9": False}, {1: 1, 2: 1, 3: 1}
        world.nodes_seen[name] = replace(seen, folders=folders, online=online, votes=votes)
    run(world)
    assert asked(world)[:2] == ["node1 delete cluster/config/nodes/node9", "rm -rf /etc/pve/nodes/node9"]


def test_nothing_is_changed_without_a_quorum(world: World) -> None:
    with pytest.raises(NotConvergedError, match="no node has a quorum of the cluster pve1"):
        joining.Join().apply(world, [Change("node2", "join", "join")], lambda _: None)  # type: ignore[arg-type]


def test_a_configuration_that_is_right_and_in_force_is_left_alone(world: World) -> None:
    run(world)
    world.log.clear()
    ConfigurationChange().apply(world, [], lambda _: None)  # type: ignore[arg-type]
    assert world.log == []


def test_a_copy_of_before_makes_a_newer_version(world: World) -> None:
    run(world)
    version = conf(world.text).version
    ahead = conf(conf_text(world.site, version + 3))
    world.nodes_seen["node2"] = replace(world.nodes_seen["node2"], local=ahead)
    run(world)
    assert conf(world.text).version == version + 4


def test_addresses_change_only_while_another_link_holds(site: Site) -> None:
    joined = all_joined(site)
    moved = conf(conf_text(site).replace("ring1_addr: 10.7.0.12", "ring1_addr: 10.7.0.99"))
    nodes = [replace(node, conf=moved, local=moved) for node in joined.seen]
    refuse_parting(site, nodes, nodes[0])
    links = tuple(replace(x, connected=x.number != 0) for x in nodes[1].links)
    with pytest.raises(RefusedError, match="the addresses of link 1 are not changed: no other link joins"):
        refuse_parting(site, [nodes[0], replace(nodes[1], links=links), nodes[2]], nodes[0])


def test_a_role_gets_only_what_a_node_lacks(site: Site) -> None:
    joined = all_joined(site)
    head, node = joined.node("node1"), joined.node("node2")
    assert variables(node, head) == {
        "membership_services": [],
        "membership_restart": [],
        "membership_key_mode": "0400",
    }
    services = {**node.services, "corosync": replace(node.services["corosync"], enabled=False)}
    lame = with_node(joined, "node2", services=services, files={}).node("node2")
    found = variables(lame, head)
    assert (found["membership_services"], found["membership_restart"]) == (["corosync"], ["pve-cluster"])


def test_a_join_names_the_links_that_the_cluster_has_and_a_free_id(site: Site) -> None:
    head = good_member(site, "node1")
    values = joining.join_parameters(site, site.node("node2"), head)
    assert "nodeid" not in values, "its id is taken: the cluster chooses"
    text = conf_text(site)
    for node in site.nodes:
        text = "\n".join(line for line in text.split("\n") if "ring1_addr" not in line)
        assert node.ring is not None
    values = joining.join_parameters(site, site.node("node2"), replace(head, conf=conf(text)))
    assert [key for key in values if key.startswith("link")] == ["link0"]


def test_the_phase_is_taken_back_by_separating_every_node(world: World) -> None:
    run(world)
    world.log.clear()
    rollback(PHASE, world, progress=lambda _: None)  # type: ignore[arg-type]
    assert asked(world)[0] == "role membership separate on node1, node2, node3"
    assert all(node.alone for node in world.nodes_seen.values())
    assert "/pve1/cluster/corosync_key" in world.parameters


def test_the_phase_is_not_taken_back_from_under_a_guest(world: World) -> None:
    run(world)
    world.nodes_seen["node2"] = replace(world.nodes_seen["node2"], folders={"node2": ("100",)})
    with pytest.raises(RefusedError, match=r"while anything stands on it \(node2: guest 100\): remove that"):
        rollback(PHASE, world, progress=lambda _: None)  # type: ignore[arg-type]
    assert not world.nodes_seen["node1"].alone


def test_waiting_for_a_quorum_says_who_lacks_it(world: World) -> None:
    with pytest.raises(
        DeadlineError, match="no quorum of 3 nodes within 0 s: node1: no quorum, 0 of 3 nodes"
    ):
        waiting.wait_quorum(world, ["node1"], 3, lambda _: None, 0.0)  # type: ignore[arg-type]


def test_waiting_for_the_api_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any, **__: Any) -> None:
        raise UnreachableError("no answer")

    monkeypatch.setattr(world.pve["node1"], "call", silent)
    with pytest.raises(DeadlineError, match="node1: its API did not answer within 0 s: no answer"):
        waiting.wait_api(world, "node1", 0.0)  # type: ignore[arg-type]


def test_a_failed_join_of_a_run_before_is_told_and_done_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(world)
    world.running["node2"] = "clusterjoin"

    def fail(*_: Any, **__: Any) -> None:
        raise PveError("node2: task clusterjoin failed")

    monkeypatch.setattr(world.pve["node2"], "wait", fail)
    said: list[str] = []
    assert waiting.finish_running(world, "node2", "clusterjoin", said.append)  # type: ignore[arg-type]
    assert "node2: node2: task clusterjoin failed" in said


def test_the_phase_has_its_number() -> None:
    assert (MembershipPhase().number, MembershipPhase().name) == (3, "cluster")

"""What the tools of Corosync and Proxmox VE print, as values; corosync.conf read, put right, written."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import cast

import pytest

from cluster.aws import Parameter
from cluster.cluster import Cluster
from cluster.errors import NotApplicableError, SiteError, UnknownError
from cluster.site import Site
from provisioners.membership import observation as module
from provisioners.membership import probes
from provisioners.membership.corosync_conf import CorosyncConfError, parse, read, render
from provisioners.membership.observation import digest, migration, stored
from provisioners.membership.ordered import addresses, corosync, differences, revise, timeout
from provisioners.membership.probes import read_clock, read_ping, script
from provisioners.membership.waiting import Quorum, read_quorum
from tests.provisioners.memberships import changed, conf, conf_text

CONF = """\
logging {
  debug: off
  to_syslog: yes
}

nodelist {
  node {
    name: node1
    nodeid: 1
    quorum_votes: 1
    ring0_addr: 10.6.0.11
    ring1_addr: 10.7.0.11
  }
  node {
    name: node2
    nodeid: 2
    quorum_votes: 1
    ring0_addr: 10.6.0.12
    ring1_addr: 10.7.0.12
  }
}

quorum {
  provider: corosync_votequorum
}

totem {
  cluster_name: pve1
  config_version: 2
  interface {
    knet_link_priority: 20
    linknumber: 0
  }
  interface {
    knet_link_priority: 10
    linknumber: 1
  }
  ip_version: ipv4-6
  link_mode: passive
  secauth: on
  token_coefficient: 125
  version: 2
}

"""
QUORUM = """\
Quorum information
------------------
Date:             Sat Nov 21 03:23:39 2026
Quorum provider:  corosync_votequorum
Nodes:            2
Node ID:          1
Ring ID:          1.5
Quorate:          Yes

Votequorum information
----------------------
Expected votes:   3
Highest expected: 3
Total votes:      2
Quorum:           2  \nFlags:            Quorate \n
Membership information
----------------------
    Nodeid      Votes Name
         1          1 node1 (local)
0x00000002          1 10.6.0.12
"""
CMAP = """\
totem.cluster_name (str) = pve1
totem.config_version (u64) = 2
totem.interface.0.knet_link_priority (u8) = 20
runtime.config.totem.token (u32) = 3125
"""
LINKS = """\
stats.knet.handle.tx_crypt_packets (u64) = 40
stats.knet.node1.link0.connected (u8) = 1
stats.knet.node1.link0.enabled (u8) = 1
stats.knet.node2.link0.connected (u8) = 1
stats.knet.node2.link0.enabled (u8) = 1
stats.knet.node2.link0.latency_ave (u32) = 412
stats.knet.node2.link0.latency_min (u32) = 4294967295
stats.knet.node2.link1.connected (u8) = 0
stats.knet.node2.link1.enabled (u8) = 1
stats.knet.node2.link2.connected (u8) = 1
stats.knet.node2.link2.enabled (u8) = 0
"""
MEMBERS = """\
{"nodename": "node1", "version": 5,
 "cluster": {"name": "pve1", "version": 2, "nodes": 2, "quorate": 1},
 "nodelist": {"node1": {"id": 1, "online": 1, "ip": "10.6.0.11"},
              "node2": {"id": 2, "online": 0, "ip": "10.6.0.12"}}}
"""
SERVICES = """\
LoadState=loaded
ActiveState=active
UnitFileState=enabled

LoadState=loaded
ActiveState=active
UnitFileState=disabled

LoadState=loaded
ActiveState=active
UnitFileState=alias

LoadState=not-found
ActiveState=inactive
UnitFileState=
"""
CLOCK = "0A060001,10.6.0.1,3,1780000000.1,-0.000123,0.0001,0.0002,1.2,0.0,0.1,0.001,0.0005,64.1,Normal\n"


@pytest.fixture
def sections() -> dict[str, str]:
    return {
        "conf": CONF,
        "local": CONF.replace("config_version: 2", "config_version: 1"),
        "key": f"{'a' * 64}  -\n400\n",
        "members": MEMBERS,
        "mode": "755\n",
        "options": "keyboard: en-us\nmigration: network=10.6.0.0/24,type=insecure\n",
        "authority": ssl.DER_cert_to_PEM_cert(b"authority"),
        "files": f"{'b' * 64}  datacenter.cfg\n",
        "folders": "node1 100 101\nnode2\n",
        "services": SERVICES,
        "quorum": QUORUM,
        "cmap": CMAP,
        "links": LINKS,
        "clock": CLOCK,
    }


def test_a_member(sections: dict[str, str]) -> None:
    seen = module.parse("node1", sections)
    assert seen.conf is not None and seen.local is not None
    assert (seen.conf.version, seen.local.version, seen.version) == (2, 1, 2)
    assert (seen.key, seen.key_mode) == ("a" * 64, "400")
    assert (seen.quorate, seen.expected_votes, dict(seen.votes)) == (True, 3, {1: 1, 2: 1})
    assert (seen.token, seen.name_in_force) == (3.125, "pve1")
    links = [(x.peer, x.number, x.connected, x.latency) for x in seen.links]
    assert links == [(1, 0, True, 0.0), (2, 0, True, 0.000412), (2, 1, False, 0.0)]
    assert dict(seen.online) == {"node1": True, "node2": False}
    assert (seen.writable, dict(seen.files)) == (True, {"datacenter.cfg": "b" * 64})
    assert (dict(seen.folders), seen.guests) == ({"node1": ("100", "101"), "node2": ()}, ("100", "101"))
    assert seen.migration == ("insecure", "10.6.0.0/24")
    assert seen.authority == digest(b"authority")
    assert (seen.clock.synchronised, seen.clock.offset) == (True, -0.000123)
    states = [(s.name, s.active, s.enabled) for s in seen.services.values()]
    assert states == [
        ("corosync", True, True),
        ("pve-cluster", True, False),
        ("pvedaemon", True, True),
        ("pveproxy", False, False),
    ]
    assert seen.running and not seen.alone


def test_a_node_outside_a_cluster() -> None:
    seen = module.parse("node1", {"mode": "755\n", "members": '{"nodename": "node1", "version": 0}\n'})
    assert seen.alone and not seen.running and not seen.quorate
    assert (seen.votes, seen.links, seen.online, seen.version, seen.token) == ({}, (), {}, 0, 0.0)
    assert not seen.clock.synchronised


def test_a_file_that_is_no_configuration_is_a_problem_not_an_absence(sections: dict[str, str]) -> None:
    seen = module.parse("node1", {**sections, "local": "totem {\n  version 2\n}\n"})
    assert seen.local is None
    assert seen.problem == "/etc/corosync/corosync.conf: line 2: expected 'key: value', found 'version 2'"


@pytest.mark.parametrize("text", ["Quorate:          No", "Cannot initialize QUORUM service"])
def test_no_quorum(sections: dict[str, str], text: str) -> None:
    seen = module.parse("node1", {**sections, "quorum": QUORUM.replace("Quorate:          Yes", text)})
    assert not seen.quorate


def test_files_that_cannot_be_written(sections: dict[str, str]) -> None:
    assert not module.parse("node1", {**sections, "mode": "555\n"}).writable


@pytest.mark.parametrize(
    ("line", "kind", "network"),
    [
        ("", "secure", ""),
        ("migration: type=secure,network=10.6.0.0/24", "secure", "10.6.0.0/24"),
        ("migration: insecure,network=10.6.0.0/24", "insecure", "10.6.0.0/24"),
        ("migration: secure", "secure", ""),
    ],
)
def test_the_network_that_guests_move_over(line: str, kind: str, network: str) -> None:
    assert migration(f"keyboard: de\n{line}\n") == (kind, network)


def test_the_store_tells_of_secrets_only_their_digest(site: Site) -> None:
    key = base64.b64encode(b"the key").decode()
    tree = {
        "/pve1/cluster/corosync_key": Parameter("k", "SecureString", key, 1),
        "/pve1/cluster/corosync_conf": Parameter("c", "String", "no base64!", 1),
        "/pve1/cluster/nodes": Parameter("n", "String", "node1", 1),
    }
    cluster = SimpleNamespace(site=site, secrets=SimpleNamespace(tree=lambda: tree))
    found = stored(cluster)  # type: ignore[arg-type]
    assert (found["corosync_key"].digest, found["corosync_key"].value) == (digest(b"the key"), "")
    assert (found["corosync_conf"].digest, found["corosync_conf"].encrypted) == (digest(b""), False)
    assert (found["nodes"].value, sorted(found)) == ("node1", ["corosync_conf", "corosync_key", "nodes"])


# -- corosync.conf


def test_a_configuration_is_written_as_it_was_read() -> None:
    assert render(parse(CONF)) == CONF


def test_a_configuration_of_one_ring_and_defaults() -> None:
    found = read(
        "totem {\n  version: 2\n  cluster_name: x\n}\nnodelist {\n  node {\n    ring0_addr: a\n  }\n}\n"
    )
    assert found is not None
    assert (found.token, found.coefficient, found.transport, found.encrypted) == (3.0, 0.65, "knet", True)
    assert (found.entries[0].name, found.entries[0].votes, dict(found.priorities)) == ("a", 1, {0: 1})


@pytest.mark.parametrize(
    ("key", "encrypted"),
    [
        ("secauth: off", False),
        ("secauth: off\n  crypto_cipher: aes256", True),
        ("crypto_cipher: none", False),
    ],
)
def test_encryption(key: str, encrypted: bool) -> None:
    assert changed(CONF, ("secauth: on", key)).encrypted is encrypted


@pytest.mark.parametrize("text", ["totem {\n", "}\n", "totem {\n  config_version: two\n}\n"])
def test_a_mistake_in_a_configuration_is_one_sentence(text: str) -> None:
    with pytest.raises(CorosyncConfError, match="expected"):
        read(text)


def test_nothing_is_no_configuration() -> None:
    assert read("\n") is None


def test_putting_right_leaves_nothing_to_be_put_right_and_is_one_version_up(site: Site) -> None:
    wrong = changed(
        conf_text(site),
        ("ring1_addr: 10.7.0.12", "ring1_addr: 10.7.0.99\n    ring2_addr: 10.5.0.12"),
        ("nodeid: 3\n    quorum_votes: 1", "nodeid: 3\n    quorum_votes: 0"),
        ("knet_link_priority: 20", "knet_link_priority: 5"),
        ("token: 10000", "token: 500"),
        ("corosync_votequorum", "corosync_votequorum\n  two_node: 1"),
    )
    assert len(differences(site, wrong)) == 6
    right = conf(revise(site, wrong, 5))
    assert differences(site, right) == []
    assert right.text == conf_text(site, 5)
    assert timeout(site, right) == pytest.approx(10.125)


def test_a_link_that_was_ordered_later_is_added_to_every_node(site: Site) -> None:
    text = conf_text(site)
    for node in site.nodes:
        text = text.replace(f"    ring1_addr: {addresses(site, node)[1]}\n", "")
    one = changed(text, ("  interface {\n    knet_link_priority: 10\n    linknumber: 1\n  }\n", ""))
    assert one.links == (0,)
    right = conf(revise(site, one, 5))
    assert right.text == conf_text(site, 5)


def test_a_node_that_is_not_ordered_keeps_its_place(site: Site) -> None:
    seen = changed(conf_text(site), ("name: node3", "name: node9"))
    assert conf(revise(site, seen, 5)).entry("node9") is not None
    assert differences(site, seen) == []


def test_the_default_token_is_not_written(site: Site) -> None:
    plain = site.model_copy(update={"corosync": corosync(site).model_copy(update={"token": 3.0})})
    assert "token:" not in conf_text(plain)
    assert conf(conf_text(plain)).token == 3.0


def test_a_network_that_no_node_is_in_is_the_sites_mistake(site: Site) -> None:
    table = corosync(site).model_copy(update={"links": ("vlan6", "oob")})
    with pytest.raises(
        SiteError, match=r"node1 has no address in oob; expected the host network or the ring"
    ):
        addresses(site.model_copy(update={"corosync": table}), site.nodes[0])


def test_no_cluster_ordered_is_not_applicable(site: Site) -> None:
    with pytest.raises(NotApplicableError, match="PF-NO-CLUSTER"):
        corosync(site.model_copy(update={"corosync": None}))


# -- probes and waiting


def test_each_node_asks_every_other_over_every_link(site: Site) -> None:
    pairs = [(name, link) for name in ("node2", "node3") for link in (0, 1)]
    text = script(site, site.nodes[0], pairs)
    assert text.startswith("section clock; chronyd -Q -t 10 'server 10.6.0.1 iburst maxsamples 1' 2>&1\n")
    assert [line.split(";")[0] for line in text.splitlines()[1:]] == [
        *("section node2.0", "section node2.1", "section node3.0", "section node3.1"),
    ]
    assert "-I 10.7.0.11 10.7.0.13 2>&1" in text


class Pinging:
    """Its nodes answer pings; `lost`: packets lost in each try, by (source, target.link); `slow`: likewise,
    the mean of a try in milliseconds.
    """

    def __init__(
        self,
        site: Site,
        lost: dict[tuple[str, str], list[int]],
        slow: dict[tuple[str, str], list[float]] | None = None,
    ) -> None:
        self.site, self.lost, self.slow = site, lost, slow or {}
        self.scripts: list[tuple[str, str]] = []

    @property
    def nodes(self) -> dict[str, SimpleNamespace]:
        return {
            node.name: SimpleNamespace(gather=lambda text, _s, name=node.name: self._answer(name, text))
            for node in self.site.nodes
        }

    def each(self, call: Callable[[str], object], nodes: Iterable[str]) -> dict[str, object]:
        return {name: call(name) for name in nodes}

    def _answer(self, name: str, text: str) -> dict[str, str]:
        self.scripts.append((name, text))
        answer = {"clock": "System clock wrong by 0.001 seconds"}
        for sections, sent in re.findall(r"section (\S+); ping -n -q -c (\d+)", text):
            lost = (self.lost.get((name, sections)) or [0]).pop(0)
            mean = (self.slow.get((name, sections)) or [0.25]).pop(0)
            answer[sections] = (
                f"{sent} packets transmitted, {int(sent) - lost} received, time 9ms\n"
                f"rtt min/avg/max/mdev = 0.100/{mean:.3f}/2000.0/0.1 ms\n"
            )
        return answer


def test_a_pair_that_lost_packets_is_asked_again_and_the_longer_try_stands(site: Site) -> None:
    world = Pinging(site, {("node1", "node3.1"): [1, 0], ("node2", "node1.0"): [2, 9]})
    trips = {(t.source, t.target, t.link): t for t in probes.mesh(cast(Cluster, world)).trips}
    assert len(trips) == 12
    by_chance, lossy = trips["node1", "node3", 1], trips["node2", "node1", 0]
    assert (by_chance.sent, by_chance.received) == (probes.AGAIN, probes.AGAIN)
    assert by_chance.earlier == "at first 49 of 50 packets came back, in 0.25 ms"
    assert lossy.sent - lossy.received == 9
    again = world.scripts[3:]
    assert [name for name, _ in again] == ["node1", "node2"] and all(t.count("ping") == 1 for _, t in again)


def test_a_pair_that_something_stood_still_for_is_asked_again_and_the_longer_try_stands(site: Site) -> None:
    world = Pinging(site, {}, {("node1", "node3.1"): [67.0, 0.3], ("node2", "node1.0"): [70.0, 60.0]})
    trips = {(t.source, t.target, t.link): t for t in probes.mesh(cast(Cluster, world)).trips}
    by_chance, far = trips["node1", "node3", 1], trips["node2", "node1", 0]
    assert by_chance.average == pytest.approx(0.0003)
    assert by_chance.earlier == "at first 50 of 50 packets came back, in 67 ms"
    assert far.average == pytest.approx(0.060)
    assert [name for name, _ in world.scripts[3:]] == ["node1", "node2"]


def test_where_nothing_or_everything_is_lost_one_try_is_enough(site: Site) -> None:
    world = Pinging(site, {("node1", "node3.1"): [50]})
    trips = probes.mesh(cast(Cluster, world)).trips
    assert len(world.scripts) == 3 and sum(t.received == 0 for t in trips) == 1


def test_ping_and_clock_are_read() -> None:
    text = "100 packets transmitted, 99 received, 1% packet loss, time 2ms\n"
    trip = read_ping("a", "b", 1, text + "rtt min/avg/max/mdev = 0.100/0.250/1.500/0.1 ms\n")
    assert (trip.sent, trip.received, trip.average, trip.slowest) == (100, 99, 0.00025, 0.0015)
    silent = read_ping("a", "b", 1, "100 packets transmitted, 0 received, 100% packet loss, time 9ms\n")
    assert (silent.received, silent.average) == (0, 0.0)
    assert read_clock("a", "...\n2026 System clock wrong by -0.200006 seconds (ignored)\n") == -0.200006


def test_a_probe_that_failed_is_unknown_never_a_pass() -> None:
    with pytest.raises(UnknownError, match="a: ping to b over link 1 gave no result: no route"):
        read_ping("a", "b", 1, "no route\n")
    with pytest.raises(UnknownError, match="a: no time server answered the question for the time: no output"):
        read_clock("a", "")


def test_quorum_is_read() -> None:
    assert read_quorum(f"{QUORUM}mode 755\n") == Quorum(True, 2, True)
    assert read_quorum("mode 555\n") == Quorum(False, 0, False)

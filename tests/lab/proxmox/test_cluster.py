"""Creating and joining, the other node's answers handed on, and the files this leaves."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.standins.proxmox.daemon.cli import local, pvecm, pvesh, pveum
from lab.standins.proxmox.daemon.config import certificates, corosync, sections, setup, users
from lab.standins.proxmox.daemon.http import tasks
from lab.standins.proxmox.daemon.http.client import pem_fingerprint
from lab.standins.proxmox.daemon.http.registry import Call

from .conftest import NODE, PASSWORD, QUORUM, Rig

LINKS = {"link0": "10.9.0.11,priority=20", "link1": "address=10.8.0.11,priority=10"}
CONF = """logging {
  debug: off
  to_syslog: yes
}

nodelist {
  node {
    name: pve-a
    nodeid: 1
    quorum_votes: 1
    ring0_addr: 10.9.0.11
    ring1_addr: 10.8.0.11
  }
}

quorum {
  provider: corosync_votequorum
}

totem {
  cluster_name: rack
  config_version: 1
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


@pytest.fixture
def pair(tmp_path: Path, keys: Path) -> Iterator[tuple[Rig, Rig]]:
    """pve-a on 127.0.0.1, and a stranger pve-b on 127.0.0.2, on the same port."""
    first = Rig(tmp_path / "a", keys)
    second = Rig(tmp_path / "b", keys, "pve-b", "127.0.0.2", first.machine.port)
    here = [{"local": "127.0.0.2"}, {"local": "10.9.0.12"}]
    second.machine.answers["ip"] = lambda _: json.dumps([{"addr_info": here}])
    second.machine.write("/etc/hosts", "127.0.0.1 localhost\n::ffff:127.0.0.2 pve-b\n")
    second.machine.write("/etc/pve/.members", json.dumps({"nodelist": {"pve-b": {"ip": "127.0.0.2"}}}))
    certificates.ensure(second.machine, renew=True)
    second.server.renew()
    yield first, second
    first.close()
    second.close()


def test_create_writes_what_pve_writes(rig: Rig) -> None:
    status, log = rig.task(rig.call("POST", "/cluster/config", clustername="rack", **LINKS))
    assert status == "OK"
    assert "Writing corosync config to /etc/pve/corosync.conf" in log
    assert log[-2:] == ["Restart corosync and cluster filesystem", "TASK OK"]
    assert rig.machine.read(corosync.CLUSTER) == rig.machine.read(corosync.LOCAL) == CONF
    assert not rig.machine.file(f"{corosync.CLUSTER}.new").exists()
    assert ["systemctl", "restart", "corosync", "pve-cluster"] in rig.machine.ran
    assert "ssh-ed25519 AAAA root@pve-a" in rig.machine.read("/etc/pve/priv/authorized_keys")


def test_create_without_links_takes_the_nodes_own_address(rig: Rig) -> None:
    rig.task(rig.call("POST", "/cluster/config", clustername="rack"))
    assert "ring0_addr: 10.9.0.11" in rig.machine.read(corosync.CLUSTER)


def joined(second: Rig, **params: Any) -> tuple[str, list[str]]:
    asked = {"hostname": "127.0.0.1", "password": PASSWORD, "link0": "10.9.0.12", **params}
    return second.task(second.call("POST", "/cluster/config/join", **asked))


def test_join(pair: tuple[Rig, Rig]) -> None:
    first, second = pair
    first.cluster()
    second.machine.file(corosync.CLUSTER).unlink(missing_ok=True)
    second.machine.write("/var/lib/pve-cluster/config.db", "database")

    def systemctl(words: Any) -> str:
        if list(words[1:]) == ["start", "corosync", "pve-cluster"]:  # the cluster's files appear with quorum
            second.machine.write(corosync.CLUSTER, first.machine.read(corosync.CLUSTER))
            second.machine.answers["corosync-quorumtool"] = lambda w: QUORUM if "-si" in w else ""
        return ""

    second.machine.answers["systemctl"] = systemctl
    print_ = pem_fingerprint(first.machine.read(certificates.certificate(NODE)))
    status, log = joined(second, fingerprint=print_)
    assert (status, log[-1]) == ("OK", "TASK OK"), log
    wanted = [
        "Establishing API connection with host '127.0.0.1'", "Login succeeded.",
        "Request addition of this node",
        "Join request OK, finishing setup locally", "stopping pve-cluster service", "waiting for quorum...OK",
        "generated new node certificate, restart pveproxy and pvedaemon services",
        "successfully added node 'pve-b' to cluster.",
    ]  # fmt: skip
    assert [line for line in log if line in wanted] == wanted
    assert second.machine.file(corosync.AUTHKEY).read_bytes() == bytes(range(256))
    conf = corosync.parse(second.machine.read(corosync.LOCAL))
    assert conf["totem"]["config_version"] == "2"
    assert corosync.nodes(conf)["pve-b"] == {
        "name": "pve-b", "nodeid": "2", "quorum_votes": "1", "ring0_addr": "10.9.0.12"
    }  # fmt: skip
    assert list(second.machine.file("/var/lib/pve-cluster/backup").glob("config-*.db"))
    assert not second.machine.file("/var/lib/pve-cluster/config.db").exists()
    assert PASSWORD not in "\n".join(log)


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"fingerprint": ":".join(["AB"] * 32)}, "not verified, abort!"),
        ({"password": "wrong"}, "authentication failure"),
        ({"link0": "10.9.0.99"}, "Check if node may join a cluster failed!"),
        ({"link1": "10.9.0.12"}, "Cluster join aborted!"),
    ],
)
def test_a_join_that_fails_changes_nothing(
    pair: tuple[Rig, Rig], params: dict[str, Any], status: str
) -> None:
    first, second = pair
    first.cluster()
    good = pem_fingerprint(first.machine.read(certificates.certificate(NODE)))
    found, log = joined(second, **{"fingerprint": good, **params})
    assert found.endswith(status), log
    assert log[-1].startswith("TASK ERROR: ")
    assert list(corosync.nodes(corosync.read(first.machine))) == [NODE]
    assert not second.machine.file(corosync.AUTHKEY).exists()


def test_a_node_that_may_not_join_hears_all_reasons_at_once(rig: Rig) -> None:
    rig.cluster()
    rig.machine.write(f"/etc/pve/nodes/{NODE}/lxc/101.conf", "")
    rig.machine.answers["corosync-quorumtool"] = lambda _: ""
    upid = rig.call(
        "POST", "/cluster/config/join", hostname="127.0.0.1", fingerprint=":".join(["AB"] * 32), password="x"
    )
    status, log = rig.task(upid)
    assert status == "Check if node may join a cluster failed!"
    assert [line for line in log if line.startswith("* ")] == [
        "* authentication key '/etc/corosync/authkey' already exists",
        "* cluster config '/etc/pve/corosync.conf' already exists",
        "* this host already contains virtual guests",
        "* corosync is already running, is this node already in a cluster?!",
    ]


def test_join_information_has_the_fingerprint_that_the_server_shows(rig: Rig) -> None:
    rig.cluster()
    found = rig.call("GET", "/cluster/config/join")
    shown = ssl.get_server_certificate((rig.host, rig.machine.port))
    assert found["nodelist"][0]["pve_fp"] == pem_fingerprint(shown)
    assert found["nodelist"][0]["pve_addr"] == "10.9.0.11"


def test_what_another_node_answers_is_handed_on(pair: tuple[Rig, Rig]) -> None:
    first, second = pair
    first.cluster("pve-b")
    first.machine.write("/etc/pve/.members", json.dumps({"nodelist": {"pve-b": {"ip": "127.0.0.2"}}}))
    second.machine.write("/etc/resolv.conf", "nameserver 10.6.0.2\n")
    assert first.call("GET", "/nodes/pve-b/dns") == {"dns1": "10.6.0.2"}
    upid = first.call("POST", "/nodes/pve-b/services/corosync/reload")
    assert upid.startswith("UPID:pve-b:")
    assert first.task(upid)[0] == "OK"


def test_certificate_is_for_name_and_address_and_strict_clients_trust_it(rig: Rig) -> None:
    file = str(rig.machine.file(certificates.certificate(NODE)))
    said = subprocess.run(
        ["openssl", "x509", "-in", file, "-noout", "-text"], capture_output=True, text=True
    ).stdout
    for name in ("IP Address:127.0.0.1", "IP Address:10.9.0.11", "DNS:pve-a", "DNS:pve-a.rack.example"):
        assert name in said
    context = ssl.create_default_context(cafile=rig.ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection((rig.host, rig.machine.port)) as plain,
        context.wrap_socket(plain, server_hostname="pve-a.rack.example") as secured,
    ):
        assert secured.version() in ("TLSv1.2", "TLSv1.3")


def test_the_certificate_is_made_anew_when_the_address_changes(rig: Rig) -> None:
    assert not certificates.ensure(rig.machine)
    rig.machine.write("/etc/hosts", "10.9.0.77 pve-a.rack.example pve-a\n")
    assert certificates.ensure(rig.machine)
    assert not certificates.ensure(rig.machine)


class TestCommands:
    """pvesh, pveum and pvecm call the same handlers in their own process."""

    @pytest.fixture(autouse=True)
    def _here(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local, "this_node", lambda: rig.machine)
        monkeypatch.setattr("os.geteuid", lambda: 0)

    def test_pvesh(self, rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
        assert pvesh.main(["get", "/version", "--output-format", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["version"] == "9.0.3"
        assert pvesh.main(["set", "/cluster/options", "-keyboard", "de"]) == 0
        assert rig.machine.read("/etc/pve/datacenter.cfg") == "keyboard: de\n"
        assert pvesh.main(["create", "/cluster/config", "--clustername", "-x"]) == 255
        assert "clustername: invalid format" in capsys.readouterr().err
        assert pvesh.main(["get", "/nothing"]) == 255
        assert pvesh.main(["get"]) == 255
        assert "Traceback" not in capsys.readouterr().err

    def test_pveum(self, rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
        add = ["user", "token", "add", "root@pam", "ci", "--privsep", "0", "--output-format", "json"]
        assert pveum.main(add) == 0
        assert json.loads(capsys.readouterr().out)["full-tokenid"] == "root@pam!ci"
        assert pveum.main(["user", "token", "list", "root@pam", "--output-format", "json"]) == 0
        assert json.loads(capsys.readouterr().out) == [{"tokenid": "ci", "privsep": 0, "expire": 0}]
        assert pveum.main(["acl", "modify", "/", "--tokens", "root@pam!ci", "--roles", "PVEAuditor"]) == 0
        assert "acl:1:/:root@pam!ci:PVEAuditor:" in rig.machine.read(users.PATH)

    def test_pvecm_create_prints_the_log_and_status_needs_a_cluster(
        self, rig: Rig, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert pvecm.main(["status"]) == 255
        assert "does not exist - is this node part of a cluster?" in capsys.readouterr().err
        assert (
            pvecm.main(
                ["create", "rack", "--link0", "10.9.0.11,priority=20", "--link1", "10.8.0.11,priority=10"]
            )
            == 0
        )
        assert "Restart corosync and cluster filesystem" in capsys.readouterr().out
        assert rig.machine.read(corosync.CLUSTER) == CONF
        assert pvecm.main(["create", "rack"]) == 255

    def test_pvecm_status_is_quorumtools_own(
        self, rig: Rig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.cluster()
        ran: list[tuple[str, ...]] = []

        def ran_it(*words: str) -> int:
            ran.append(words)
            return 2

        monkeypatch.setattr(pvecm, "_exec", ran_it)
        assert pvecm.main(["status"]) == 2
        assert ran == [("corosync-quorumtool", "-siH")]
        assert capsys.readouterr().out == (
            "Cluster information\n-------------------\nName:             rack\nConfig Version:   1\n"
            "Transport:        knet\nSecure auth:      on\n\n"
        )

    def test_a_task_of_the_command_line_fails_aloud(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rig.machine.answers["systemctl"] = lambda _: (_ for _ in ()).throw(OSError("no systemd"))
        assert pvecm.main(["create", "rack"]) == 255
        assert "no systemd" in capsys.readouterr().err


class TestFiles:
    """What is read is written again as it was."""

    def test_corosync_conf(self) -> None:
        assert corosync.render(corosync.parse(CONF)) == CONF

    def test_storage_cfg(self) -> None:
        text = "dir: local\n\tpath /var/lib/vz\n\tcontent iso,vztmpl\n\n"
        text += "rbd: vms\n\tcontent images\n\tkrbd 0\n\tpool vms\n\n"
        assert sections.render(sections.parse(text), {"path"}) == text

    def test_user_cfg(self) -> None:
        text = (
            "user:harness@pve:1:0::::harness::\ntoken:harness@pve!ci:0:1:CI:\nuser:root@pam:1:0:::ops@rack.example:::\n\n"
            "group:admins:harness@pve::\n\n\nrole:Watch:Sys.Audit:\n\nacl:1:/:@admins:Administrator:\n"
        )
        assert users.render(users.parse(text)) == text

    @given(st.lists(st.sampled_from(["/", "/nodes", "/nodes/a", "/nodes/b"]), max_size=4), st.booleans())
    def test_privileges_are_the_nearest_entrys(self, paths: list[str], propagate: bool) -> None:
        known = users.Users(users={"x@pve": users.User()})
        known.acls = [users.Acl(path, "user", "x@pve", "PVEAuditor", propagate) for path in paths]
        held = "Sys.Audit" in users.privileges(known, "x@pve", "/nodes/a")
        assert held == bool("/nodes/a" in paths or (propagate and {"/", "/nodes"} & {*paths}))

    def test_no_access_takes_away(self) -> None:
        known = users.parse("user:x@pve:1:0:::::\nacl:1:/:x@pve:PVEAdmin:\nacl:1:/nodes/a:x@pve:NoAccess:\n")
        assert users.privileges(known, "x@pve", "/nodes/b")
        assert not users.privileges(known, "x@pve", "/nodes/a")


def test_a_task_that_died_with_its_daemon_is_unexpected(rig: Rig) -> None:
    text = f"UPID:{NODE}:7FFFFFFF:00016378:6A92B890:srvreload:x:root@pam:"
    upid = tasks.decode(text)
    rig.machine.write(upid.log, "half of it\n")
    assert rig.call("GET", f"/nodes/{NODE}/tasks/{text}/status")["exitstatus"] == "unexpected status"


def test_warnings_are_counted(rig: Rig) -> None:
    upid = tasks.start(Call(rig.machine, "root@pam"), kind="srvreload", work=lambda log: log.warn("careful"))
    assert rig.task(upid) == ("WARNINGS: 1", ["WARN: careful", "TASK WARNINGS: 1"])


def test_local_addresses_are_addresses(rig: Rig) -> None:
    files_ = setup.local_addresses(rig.machine)
    assert {a for a in files_ if a[0].isdigit() and ipaddress.ip_address(a)} == {
        "127.0.0.1",
        "10.9.0.11",
        "10.8.0.11",
    }

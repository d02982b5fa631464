"""Refusals, as the table of errors of PVE has them: status, reason phrase, body."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from proxmoxer.core import AuthenticationError, ResourceException

from lab.standins.proxmox.daemon.config import corosync
from lab.standins.proxmox.daemon.http import tickets

from .conftest import NODE, PASSWORD, Rig

MISSING = "property is missing and it is not optional"
UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"


def raw(
    rig: Rig, method: str, path: str, headers: Mapping[str, str] | None = None, body: str | None = None
) -> tuple[int, str, bytes]:
    context = ssl.create_default_context(cafile=rig.ca)
    connection = http.client.HTTPSConnection(rig.host, rig.machine.port, context=context, timeout=20)
    connection.request(method, f"/api2/json{path}", body, dict(headers or {}))
    answer = connection.getresponse()
    found = answer.status, answer.reason, answer.read()
    connection.close()
    return found


def cookie(rig: Rig, user: str = "root@pam", now: float | None = None) -> dict[str, str]:
    return {"Cookie": f"PVEAuthCookie={tickets.issue(rig.machine, user, now).replace('=', '%3D')}"}


def refused(rig: Rig, method: str, path: str, /, **params: Any) -> ResourceException:
    with pytest.raises(ResourceException) as error:
        rig.call(method, path, **params)
    found = error.value
    assert isinstance(found, ResourceException)
    return found


@pytest.mark.parametrize(
    ("params", "errors"),
    [
        ({}, {"clustername": MISSING}),
        ({"clustername": "rack", "colour": "red"}, {"colour": UNKNOWN}),
        ({"clustername": "a" * 16}, {"clustername": "value may only be 15 characters long"}),
        (
            {"clustername": "-rack"},
            {"clustername": "invalid format - value does not look like a valid node name"},
        ),
        ({"clustername": "rack", "votes": 0}, {"votes": "value must have a minimum value of 1"}),
        ({"clustername": "rack", "votes": "two"}, {"votes": "type check ('integer') failed - got 'two'"}),
        ({"clustername": "rack", "link8": "10.9.0.1"}, {"link8": UNKNOWN}),
        (
            {"clustername": "rack", "link0": "priority=5"},
            {"link0": f"invalid format - format error\naddress: {MISSING}"},
        ),
        (
            {"clustername": "rack", "link0": "10.9.0.1,priority=256"},
            {"link0": "invalid format - format error\npriority: value must have a maximum value of 255"},
        ),
    ],
)
def test_bad_parameters_are_named(rig: Rig, params: dict[str, Any], errors: dict[str, str]) -> None:
    error = refused(rig, "POST", "/cluster/config", **params)
    assert (error.status_code, error.content, error.errors) == (400, "Parameter verification failed.", errors)


def test_the_body_of_an_error(rig: Rig) -> None:
    status, reason, body = raw(rig, "GET", "/nodes/pve-a/tasks?limit=x", cookie(rig))
    assert (status, reason) == (400, "Parameter verification failed.")
    assert json.loads(body) == {
        "data": None,
        "message": "Parameter verification failed.\n",
        "errors": {"limit": "type check ('integer') failed - got 'x'"},
    }


def test_without_credentials(rig: Rig) -> None:
    assert raw(rig, "GET", "/cluster/status") == (401, "No ticket", b"")
    assert raw(rig, "GET", "/no/such/path") == (401, "No ticket", b"")


@pytest.mark.parametrize("age_s", [7201, -420])
def test_an_old_ticket_and_one_from_the_future(rig: Rig, age_s: float) -> None:
    headers = cookie(rig, now=time.time() - age_s)
    assert raw(rig, "GET", "/version", headers) == (401, "Authentication failed!", b"")


@pytest.mark.parametrize(
    "ticket", ["PVE:root@pam:6A92B300::AAAA", "PVE:root@pam", "rubbish", "PVE:root@pam:ZZ::", "::::"]
)
def test_a_false_ticket(rig: Rig, ticket: str) -> None:
    found = raw(rig, "GET", "/version", {"Cookie": f"PVEAuthCookie={ticket}"})
    assert found == (401, "Authentication failed!", b"")


def test_a_ticket_of_another_cluster_is_worth_nothing(rig: Rig) -> None:
    headers = cookie(rig)
    rig.machine.write(tickets.KEY, "another key")
    assert raw(rig, "GET", "/version", headers)[:2] == (401, "Authentication failed!")


def test_the_last_key_holds_while_etc_pve_is_mounted_anew(rig: Rig) -> None:
    headers = cookie(rig)
    rig.machine.file(tickets.KEY).unlink()
    assert raw(rig, "GET", "/version", headers)[0] == 200


@pytest.mark.parametrize(
    ("user", "password"), [("root@pam", "wrong"), ("root@pve", PASSWORD), ("x@pam", PASSWORD)]
)
def test_a_wrong_password(rig: Rig, user: str, password: str) -> None:
    with pytest.raises(AuthenticationError):
        rig.login(user, password)
    form = {"Content-Type": "application/json"}
    body = json.dumps({"username": user, "password": password})
    status, reason, answer = raw(rig, "POST", "/access/ticket", form, body)
    assert (status, reason) == (401, "authentication failure")
    assert json.loads(answer) == {"data": None, "message": "authentication failure\n"}


def test_a_refusal_takes_its_time(rig: Rig) -> None:
    rig.server.refusal_delay_s = 0.3
    began = time.monotonic()
    raw(rig, "GET", "/version")
    assert time.monotonic() - began >= 0.3


def test_a_change_needs_the_csrf_token(rig: Rig) -> None:
    found = raw(rig, "PUT", "/cluster/options", cookie(rig), "keyboard=de")
    assert found[:2] == (401, "Permission denied - invalid csrf token")
    other = {**cookie(rig), "CSRFPreventionToken": tickets.csrf(rig.machine, "x@pve")}
    assert raw(rig, "PUT", "/cluster/options", other, "keyboard=de")[0] == 401
    mine = {**cookie(rig), "CSRFPreventionToken": tickets.csrf(rig.machine, "root@pam")}
    assert raw(rig, "PUT", "/cluster/options", mine, "keyboard=de")[0] == 200


def test_without_privilege(rig: Rig) -> None:
    rig.call("POST", "/access/users", userid="audit@pve", password="long enough")
    rig.call("PUT", "/access/acl", path="/", roles="PVEAuditor", users="audit@pve")
    client = rig.login("audit@pve", "long enough")
    assert client("cluster/status").get()[0]["name"] == NODE
    with pytest.raises(ResourceException) as error:
        client("cluster/options").put(keyboard="de")
    assert (error.value.status_code, error.value.content) == (403, "Permission check failed (/, Sys.Modify)")
    with pytest.raises(ResourceException) as error:
        client("cluster/config").post(clustername="rack")
    assert error.value.status_code == 403


def test_403_comes_before_400(rig: Rig) -> None:
    rig.call("POST", "/access/users", userid="nobody@pve", password="long enough")
    client = rig.login("nobody@pve", "long enough")
    with pytest.raises(ResourceException) as error:
        client(f"nodes/{NODE}/status").get(colour="red")
    assert (error.value.status_code, error.value.content) == (
        403,
        f"Permission check failed (/nodes/{NODE}, Sys.Audit)",
    )


def test_unknown_paths_are_not_implemented(rig: Rig) -> None:
    error = refused(rig, "GET", "/cluster/nothing")
    assert (error.status_code, error.content) == (501, "Method 'GET /cluster/nothing' not implemented")
    assert refused(rig, "DELETE", "/version").status_code == 501


def test_no_join_information_outside_a_cluster(rig: Rig) -> None:
    error = refused(rig, "GET", "/cluster/config/join")
    assert (error.status_code, error.content) == (424, "node is not in a cluster, no join info available!")


def test_what_dies_is_500(rig: Rig) -> None:
    rig.cluster()
    assert "already exists" in refused(rig, "POST", "/cluster/config", clustername="rack").content
    error = refused(rig, "GET", "/storage/nowhere")
    assert (error.status_code, error.content) == (500, "storage 'nowhere' does not exist")
    rig.machine.answers["ip"] = lambda _: "no JSON"
    assert refused(rig, "GET", f"/nodes/{NODE}/network").status_code == 500


def test_writing_without_quorum(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_quorum(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", no_quorum)
    error = refused(rig, "PUT", "/cluster/options", keyboard="de")
    assert (error.status_code, error.content) == (500, "cfs-lock 'file-datacenter_cfg' error: no quorum!")


def test_a_node_is_added_with_quorum_only(rig: Rig) -> None:
    rig.cluster("pve-b")
    rig.machine.answers["corosync-quorumtool"] = lambda _: "Quorate:          No\n"
    error = refused(rig, "POST", "/cluster/config/nodes/pve-c", link0="10.9.0.13", apiversion=1)
    assert (error.status_code, error.content) == (500, "cluster not ready - no quorum?")


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"link0": "10.9.0.11"}, "address '10.9.0.11' already used on link 0 by node 'pve-a'"),
        ({"link0": "10.9.0.12", "link1": "10.8.0.12"}, "link 1 is not configured on the existing nodes"),
        ({"link1": "10.8.0.12"}, "missing link 0"),
        ({"link0": "10.9.0.12", "nodeid": 1}, "nodeid '1' is already used by node 'pve-a'"),
    ],
)
def test_a_node_that_does_not_fit_is_not_added(rig: Rig, params: dict[str, Any], text: str) -> None:
    rig.cluster()
    error = refused(rig, "POST", "/cluster/config/nodes/pve-b", apiversion=1, **params)
    assert (error.status_code, text in error.content) == (500, True), error.content
    assert list(corosync.nodes(corosync.read(rig.machine))) == [NODE]
    assert corosync.read(rig.machine)["totem"]["config_version"] == "1"


def test_an_existing_node_is_added_by_force_only(rig: Rig) -> None:
    rig.cluster("pve-b")
    again = {"link0": "10.9.0.12", "apiversion": 1}
    assert (
        refused(rig, "POST", "/cluster/config/nodes/pve-b", **again).content
        == "can't add existing node 'pve-b'"
    )
    found = rig.call("POST", "/cluster/config/nodes/pve-b", **again, force=1)
    assert "config_version: 2" in found["corosync_conf"]


def test_a_dead_node_is_595(rig: Rig) -> None:
    rig.cluster("pve-b")
    rig.machine.write("/etc/hosts", "127.0.0.9 localhost\n127.0.0.1 pve-a\n::ffff:127.0.0.9 pve-b\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        rig.machine.port = free.getsockname()[1]
    status, reason, body = raw_at(rig, rig.server.server_address[1], "/nodes/pve-b/status")
    assert (status, reason, body) == (595, "Connection refused", b"")


def raw_at(rig: Rig, port: int, path: str) -> tuple[int, str, bytes]:
    rig.machine.port, before = port, rig.machine.port
    context = ssl.create_default_context(cafile=rig.ca)
    connection = http.client.HTTPSConnection(rig.host, port, context=context, timeout=20)
    connection.connect()
    rig.machine.port = before
    connection.request("GET", f"/api2/json{path}", headers=cookie(rig))
    answer = connection.getresponse()
    found = answer.status, answer.reason, answer.read()
    connection.close()
    return found


def test_an_unknown_node_is_500(rig: Rig) -> None:
    error = refused(rig, "GET", "/nodes/pve-z.invalid/status")
    assert error.status_code == 500
    assert "hostname lookup 'pve-z.invalid' failed" in error.content


def test_a_task_that_is_not_there(rig: Rig) -> None:
    upid = f"UPID:{NODE}:00001900:00016378:6A92B890:cephcreateosd:nvme2n1:root@pam:"
    error = refused(rig, "GET", f"/nodes/{NODE}/tasks/{upid}/status")
    assert (error.status_code, error.errors) == (400, {"upid": "no such task"})
    assert refused(rig, "GET", f"/nodes/{NODE}/tasks/UPID:x/status").status_code == 400


class TestTokens:
    """API tokens: `PVEAPIToken=user@realm!id=secret`, without CSRF."""

    def header(self, rig: Rig, **params: Any) -> dict[str, str]:
        made = rig.call("POST", "/access/users/root@pam/token/ci", **params)
        return {"Authorization": f"PVEAPIToken={made['full-tokenid']}={made['value']}"}

    def test_with_the_rights_of_its_user(self, rig: Rig) -> None:
        header = self.header(rig, privsep=0)
        assert raw(rig, "GET", f"/nodes/{NODE}/status", header)[0] == 200
        assert raw(rig, "PUT", "/cluster/options", header, "keyboard=de")[0] == 200

    def test_separated_from_its_user(self, rig: Rig) -> None:
        header = self.header(rig, privsep=1)
        assert raw(rig, "GET", f"/nodes/{NODE}/status", header)[0] == 403
        rig.call("PUT", "/access/acl", path="/", roles="PVEAuditor", tokens="root@pam!ci")
        assert raw(rig, "GET", f"/nodes/{NODE}/status", header)[0] == 200
        assert raw(rig, "PUT", "/cluster/options", header, "keyboard=de")[0] == 403

    def test_false_or_gone(self, rig: Rig) -> None:
        header = self.header(rig, privsep=0)
        bad = {"Authorization": header["Authorization"][:-1] + "_"}
        assert raw(rig, "GET", "/version", bad) == (401, "Authentication failed!", b"")
        rig.call("DELETE", "/access/users/root@pam/token/ci")
        assert raw(rig, "GET", "/version", header)[:2] == (401, "Authentication failed!")

    def test_a_user_who_is_disabled_has_no_token_either(self, rig: Rig) -> None:
        rig.call("POST", "/access/users", userid="x@pve")
        made = rig.call("POST", "/access/users/x@pve/token/ci", privsep=0)
        header = {"Authorization": f"PVEAPIToken=x@pve!ci={made['value']}"}
        assert raw(rig, "GET", "/version", header)[0] == 200
        rig.call("PUT", "/access/users/x@pve", enable=0)
        assert raw(rig, "GET", "/version", header)[0] == 401

    def test_the_task_of_a_token_names_it(self, rig: Rig) -> None:
        rig.call("POST", "/access/users/root@pam/token/ci", privsep=0)
        secret = rig.machine.read("/etc/pve/priv/token.cfg").split()[1]
        header = {"Authorization": f"PVEAPIToken=root@pam!ci={secret}"}
        _, _, body = raw(rig, "POST", f"/nodes/{NODE}/services/corosync/reload", header)
        upid = json.loads(body)["data"]
        assert upid.endswith(":srvreload:corosync:root@pam!ci:")
        rig.task(upid)
        status = rig.call("GET", f"/nodes/{NODE}/tasks/{upid}/status")
        assert (status["user"], status["tokenid"]) == ("root@pam", "ci")


def test_too_much_and_not_understood(rig: Rig) -> None:
    assert raw(rig, "POST", "/access/ticket", {}, "x" * (512 * 1024 + 1))[0] == 413
    form = {"Content-Type": "application/json"}
    assert raw(rig, "POST", "/access/ticket", form, "{")[0] == 400
    assert raw(rig, "POST", "/access/ticket", {"Content-Type": "multipart/form-data"}, "x")[0] == 501


def test_a_new_certificate_is_shown_after_a_reload(rig: Rig, tmp_path: Path) -> None:
    before = ssl.get_server_certificate((rig.host, rig.machine.port))
    from lab.standins.proxmox.daemon.config import certificates

    shutil.copy(rig.machine.file(certificates.certificate(NODE)), tmp_path / "old")
    certificates.ensure(rig.machine, renew=True)
    assert ssl.get_server_certificate((rig.host, rig.machine.port)) == before
    rig.server.renew()
    after = ssl.get_server_certificate((rig.host, rig.machine.port))
    assert after != before
    assert rig.call("GET", "/version")["release"] == "9.0"

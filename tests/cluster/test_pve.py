"""The API of Proxmox VE: verified, bounded, each failure one sentence, and no secret in any of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster import pve as module
from cluster.errors import DeadlineError, UnreachableError
from cluster.pve import Pve, PveError
from cluster.site_models import Pve as PveTable
from tests.cluster.fakes import certificates
from tests.cluster.fakes.pve_server import PASSWORD, UPID, FakePve


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.01)
    monkeypatch.setattr(module, "TIMEOUT_S", 5.0)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nothing of a site goes through a proxy


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificates.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(pair: tuple[Path, Path]) -> Iterator[FakePve]:
    with FakePve(*pair) as fake:
        yield fake


@dataclass
class Client:
    """A client of the fake, what it told its observer, and how often the authority was read."""

    server: FakePve
    authority: str
    password: str = PASSWORD
    told: list[tuple[str, str, str]] = field(default_factory=list)
    read: int = 0

    def open(self) -> Pve:
        def authority() -> str:
            self.read += 1
            return self.authority

        return Pve(
            SimpleNamespace(name="node1", address=IPv4Address("127.0.0.1")),
            PveTable(user="root@pam", password="ssm:/pve1/nodes/{node}/root_password", port=self.server.port),
            password=lambda: self.password,
            authority=authority,
            observer=lambda where, command, output, _: self.told.append((where, command, output)),
        )


@pytest.fixture
def client(server: FakePve, pair: tuple[Path, Path]) -> Client:
    return Client(server, pair[0].read_text())


def test_a_call_gives_the_data(client: Client, server: FakePve) -> None:
    server.answers["GET", "version"] = (200, "OK", {"version": "9.0.8"})
    server.answers["PUT", "cluster/options"] = (200, "OK", None)
    pve = client.open()
    assert pve.call("get", "version") == {"version": "9.0.8"}
    given: dict[str, Any] = {"max_workers": 4, "migration": None, "next-id": "lower=100", "flag": True}
    assert pve.call("put", "/cluster/options", **given) is None
    assert server.log[-1] == (
        "PUT",
        "cluster/options",
        {"max_workers": "4", "next-id": "lower=100", "flag": "1"},
    )
    assert server.paths("POST") == ["access/ticket"], "one login for both"


def test_a_refusal_names_node_call_status_reason_and_parameters(client: Client, server: FakePve) -> None:
    wrong = {"clustername": "max length is 15"}
    server.answers["POST", "cluster/config"] = (400, "Parameter verification failed.", wrong)
    with pytest.raises(PveError) as refusal:
        client.open().call("post", "cluster/config", clustername="x" * 16)
    error = refusal.value
    assert (error.status, error.reason, error.errors) == (400, "Parameter verification failed.", wrong)
    assert str(error) == (
        f"node1 (127.0.0.1:{server.port}): POST /cluster/config was refused with 400:"
        " Parameter verification failed. (clustername: max length is 15)"
    )


def test_an_unknown_path_is_an_answer(client: Client) -> None:
    with pytest.raises(PveError, match="was refused with 501: Method 'GET /cluster/x' not implemented"):
        client.open().call("get", "cluster/x")


def test_a_node_that_the_api_cannot_reach_is_unreachable(client: Client, server: FakePve) -> None:
    server.answers["GET", "nodes/node2/status"] = (595, "No route to host", None)
    with pytest.raises(UnreachableError, match=r"595: No route to host: the node that it is for"):
        client.open().call("get", "nodes/node2/status")


def test_a_wrong_password_is_one_sentence_without_it(client: Client) -> None:
    client.password = "hunter2"
    with pytest.raises(
        PveError, match=r"user root@pam is refused with the password of pve\.password$"
    ) as told:
        client.open().call("get", "version")
    assert "hunter2" not in f"{told.value}{client.told}"


def test_an_api_that_lets_nobody_in_yet_is_unreachable(client: Client, server: FakePve) -> None:
    server.login_status = 595
    with pytest.raises(UnreachableError, match="lets nobody in yet"):
        client.open().call("get", "version")


def test_secrets_are_told_to_nobody(client: Client, server: FakePve) -> None:
    server.answers["POST", "cluster/config/join"] = (200, "OK", UPID)
    client.open().call("post", "cluster/config/join", hostname="10.6.0.11", password="hunter2")
    ((where, command, _),) = client.told
    assert where == "node1 api"
    assert command == "POST /cluster/config/join {'hostname': '10.6.0.11', 'password': '***'}"


def test_a_certificate_of_somebody_else_is_not_spoken_to(
    client: Client, server: FakePve, tmp_path: Path
) -> None:
    client.authority = certificates.make(tmp_path)[0].read_text()
    with pytest.raises(
        UnreachableError, match="is not spoken to: its certificate is not one of the node's own"
    ):
        client.open().call("get", "version")
    assert server.log == [], "not even the password was sent"


def test_a_renewed_certificate_is_read_anew(client: Client, server: FakePve, tmp_path: Path) -> None:
    server.answers["GET", "version"] = (200, "OK", 1)
    pve = client.open()
    pve.call("get", "version")
    fresh = certificates.make(tmp_path)
    server.trust(*fresh)
    client.authority = fresh[0].read_text()
    pve.forget()
    assert pve.call("get", "version") == 1
    assert client.read == 2


def test_a_ticket_of_before_is_renewed(client: Client, server: FakePve) -> None:
    server.answers["GET", "version"] = (200, "OK", 1)
    pve = client.open()
    pve.call("get", "version")
    server.ticket = "PVE:root@pam:2"  # the node joined: its old tickets are worth nothing
    assert pve.call("get", "version") == 1
    assert server.paths("POST") == ["access/ticket"] * 2


def test_a_right_that_is_lacking_stays_lacking(client: Client, server: FakePve) -> None:
    server.answers["GET", "version"] = (401, "No ticket", None)
    with pytest.raises(PveError, match="401: No ticket"):
        client.open().call("get", "version")
    assert len(server.paths("GET")) == 2


def test_a_task_is_followed_to_its_end(client: Client, server: FakePve) -> None:
    server.answers["POST", "cluster/config/join"] = (200, "OK", UPID)
    server.polls = 3
    said: list[str] = []
    client.open().task("post", "cluster/config/join", 5, said.append, hostname="10.6.0.11")
    assert [line.rsplit(" (", 1)[0] for line in said] == [
        "node1: clusterjoin: Login succeeded.",
        "node1: clusterjoin: waiting for quorum...OK",
    ]


def test_warnings_are_no_failure(client: Client, server: FakePve) -> None:
    server.exit_status = "WARNINGS: 1"
    client.open().wait(UPID, 5)


def test_a_failed_task_tells_its_last_lines(client: Client, server: FakePve) -> None:
    server.exit_status = "unable to join: * authentication key '/etc/corosync/authkey' already exists"
    with pytest.raises(PveError) as failed:
        client.open().wait(UPID, 5)
    assert "task clusterjoin failed after 0 s: unable to join: * authentication key" in str(failed.value)
    assert "(its last lines: Login succeeded.; waiting for quorum...OK)" in str(failed.value)
    assert failed.value.reason == server.exit_status


def test_an_api_that_restarts_under_a_task_is_waited_for(client: Client, server: FakePve) -> None:
    pve = client.open()
    server.answers["GET", "version"] = (200, "OK", 1)
    pve.call("get", "version")
    pve.forget()
    server.silent = 2
    pve.wait(UPID, 5)


def test_an_api_that_has_lost_its_files_under_a_task_is_waited_for(
    client: Client, server: FakePve, monkeypatch: pytest.MonkeyPatch
) -> None:
    pve = client.open()
    call, left = pve.call, [2]

    def troubled(method: Any, path: str, **params: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise PveError("node1: GET was refused with 500: Transport endpoint is not connected", 500)
        return call(method, path, **params)

    monkeypatch.setattr(pve, "call", troubled)
    pve.wait(UPID, 10)
    assert left == [0]
    left[0] = 1_000
    monkeypatch.setattr("cluster.pve.RESTART_S", 0.5)
    with pytest.raises(PveError, match="not connected"):
        pve.wait(UPID, 10)


def test_a_task_without_an_end_meets_its_deadline(client: Client, server: FakePve) -> None:
    server.polls = 10_000
    with pytest.raises(DeadlineError, match=r"task clusterjoin did not end within 0\.1 s$"):
        client.open().wait(UPID, 0.1)


def test_what_is_no_task_is_said(client: Client, server: FakePve) -> None:
    server.answers["POST", "cluster/config"] = (200, "OK", None)
    with pytest.raises(PveError, match="expected the id of a task, got 'None'"):
        client.open().task("post", "cluster/config", 5)


def test_tasks_that_run(client: Client, server: FakePve) -> None:
    ended = {"upid": "UPID:x", "type": "clusterjoin", "endtime": 5}
    rows = [{"upid": UPID, "type": "clusterjoin"}, ended, {"upid": "UPID:y", "type": "other"}]
    server.answers["GET", "nodes/node1/tasks"] = (200, "OK", rows)
    assert client.open().running("clusterjoin") == [UPID]
    assert server.log[-1][2] == {"source": "active", "typefilter": "clusterjoin"}


def test_nobody_there_is_one_sentence(client: Client, server: FakePve) -> None:
    pve = client.open()
    server.__exit__()
    with pytest.raises(UnreachableError, match="no answer from the API to GET /version within 5 s"):
        pve.call("get", "version")


def test_a_file_is_put_into_a_storage_with_its_checksum(
    client: Client, server: FakePve, tmp_path: Path
) -> None:
    file = tmp_path / "beat-ct-0123456789ab.tar.gz"
    file.write_bytes(b"what is in it")
    server.answers["POST", "nodes/node1/storage/cephfs/upload"] = (200, "OK", UPID)
    pve = client.open()
    pve.upload("cephfs", "vztmpl", file, 5)
    (sent,) = [values for method, path, values in server.log if path.endswith("upload")]
    assert sent == {
        "content": "vztmpl",
        "checksum": hashlib.sha256(b"what is in it").hexdigest(),
        "checksum-algorithm": "sha256",
        "filename": file.name,
        "content of filename": "what is in it",
    }
    assert any(f"'filename': '{file.name}'" in command for _, command, _ in client.told)
    assert not any(str(tmp_path) in command for _, command, _ in client.told)


def test_a_file_is_sent_whole_though_the_ticket_had_ended(
    client: Client, server: FakePve, tmp_path: Path
) -> None:
    file = tmp_path / "beat.iso"
    file.write_bytes(b"what is in it")
    server.answers["GET", "version"] = (200, "OK", {})
    server.answers["POST", "nodes/node1/storage/cephfs/upload"] = (200, "OK", UPID)
    pve = client.open()
    pve.call("get", "version")
    server.ticket = "PVE:root@pam:2"
    pve.upload("cephfs", "iso", file, 5)
    sent = [values["content of filename"] for _, path, values in server.log if path.endswith("upload")]
    assert sent == ["what is in it"] * 2


def test_an_upload_whose_task_fails_says_so(client: Client, server: FakePve, tmp_path: Path) -> None:
    file = tmp_path / "beat.iso"
    file.write_bytes(b"x")
    server.exit_status = "checksum mismatch"
    server.answers["POST", "nodes/node1/storage/cephfs/upload"] = (200, "OK", UPID)
    with pytest.raises(PveError, match="checksum mismatch"):
        client.open().upload("cephfs", "iso", file, 5)

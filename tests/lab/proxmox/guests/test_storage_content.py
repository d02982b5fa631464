"""Files sent to a storage, listed and removed; disks of guests."""

from __future__ import annotations

import hashlib
import http.client
import io
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proxmoxer import ResourceException

from lab.standins.proxmox.daemon.http import upload
from lab.standins.proxmox.daemon.http.errors import ApiError
from lab.standins.proxmox.daemon.http.machine import Machine

from ..conftest import NODE, Rig
from ..hypervisor import ISO, TEMPLATE, Hypervisor, hypervisor, with_container, with_machine
from .conftest import OTHER

BASE = f"/nodes/{NODE}/storage"
FILE = 'Content-Disposition: form-data; name="filename"; filename="x.iso"'
HEAD = f"{FILE}\r\nContent-Type: application/octet-stream"


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    """Larger than one chunk, with what looks like the end of a part inside."""
    path = tmp_path / "beat.iso"
    path.write_bytes(b"\r\n--boundary\r\n" * 20_000 + bytes(range(256)) * 1000)
    return path


def left_over(rig: Rig) -> list[Path]:
    return list(rig.machine.file(upload.FOLDER).glob(f"{upload.PREFIX}*"))


def sent(
    rig: Rig, storage: str, content: str, path: Path, node: str = NODE, **more: Any
) -> tuple[str, list[str]]:
    with path.open("rb") as file:
        place = rig.client(f"nodes/{node}/storage/{storage}/upload")
        return rig.task(place.create(content=content, filename=file, **more))


@pytest.mark.parametrize("storage", ["local", "cephfs"])
def test_an_image_that_is_sent_lies_there(rig: Rig, node: Hypervisor, iso: Path, storage: str) -> None:
    digest = hashlib.sha256(iso.read_bytes()).hexdigest()
    more = {"checksum": digest.upper(), "checksum-algorithm": "sha256"}
    status, log = sent(rig, storage, "iso", iso, **more)
    assert status == "OK" and "finished file import successfully" in log
    folder = {"local": "/var/lib/vz", "cephfs": "/mnt/pve/cephfs"}[storage]
    assert rig.machine.file(f"{folder}/template/iso/beat.iso").read_bytes() == iso.read_bytes()
    assert left_over(rig) == []
    found = {entry["volid"]: entry for entry in rig.call("GET", f"{BASE}/{storage}/content", content="iso")}
    assert found[f"{storage}:iso/beat.iso"]["size"] == iso.stat().st_size


def test_a_template_replaces_the_one_of_its_name(rig: Rig, node: Hypervisor, tmp_path: Path) -> None:
    path = tmp_path / "beat.tar.gz"
    path.write_bytes(b"another")
    assert sent(rig, "local", "vztmpl", path)[0] == "OK"
    (entry,) = rig.call("GET", f"{BASE}/local/content", content="vztmpl")
    assert (entry["volid"], entry["size"], entry["format"]) == (TEMPLATE, 7, "tgz")


def test_a_name_cannot_lead_elsewhere(rig: Rig, node: Hypervisor, iso: Path) -> None:
    with iso.open("rb") as file:
        upid = rig.client(f"{BASE}/local/upload".strip("/")).create(
            content="iso", filename=_named(file.read(), "../../../etc/a b.iso")
        )
    assert rig.task(upid)[0] == "OK"
    assert rig.machine.file("/var/lib/vz/template/iso/a_b.iso").exists()
    assert not list(rig.machine.file("/etc").glob("*.iso"))


def _named(data: bytes, name: str) -> io.BytesIO:
    file = io.BytesIO(data)
    file.name = name
    return file


@pytest.mark.parametrize(
    ("storage", "content", "name", "status", "said"),
    [
        ("rbd-vms", "iso", "x.iso", 500, "can't upload to storage type 'rbd', not a file based storage!"),
        ("nowhere", "iso", "x.iso", 500, "storage 'nowhere' does not exist"),
        ("local", "iso", "x.tar.gz", 400, "wrong file extension"),
        ("local", "vztmpl", "x.iso", 400, "wrong file extension"),
        ("local", "backup", "x.iso", 400, "does not have a value in the enumeration"),
    ],
)
def test_files_that_have_no_place(
    rig: Rig, node: Hypervisor, storage: str, content: str, name: str, status: int, said: str
) -> None:
    with pytest.raises(ResourceException) as error:
        rig.client(f"{BASE}/{storage}/upload".strip("/")).create(content=content, filename=_named(b"x", name))
    assert error.value.status_code == status and said in f"{error.value.content} {error.value.errors}"
    assert left_over(rig) == []


def test_a_storage_that_takes_no_such_content(rig: Rig, node: Hypervisor) -> None:
    rig.call("PUT", "/storage/local", content="vztmpl")
    with pytest.raises(ResourceException, match="storage 'local' does not support 'iso' content"):
        rig.client(f"{BASE}/local/upload".strip("/")).create(content="iso", filename=_named(b"x", "x.iso"))


def test_a_file_that_changed_on_its_way_is_not_taken(rig: Rig, node: Hypervisor, iso: Path) -> None:
    more = {"checksum": "0" * 32, "checksum-algorithm": "md5"}
    status, _ = sent(rig, "local", "iso", iso, **more)
    assert status.startswith("checksum mismatch: got '")
    assert not rig.machine.file("/var/lib/vz/template/iso/beat.iso").exists() and left_over(rig) == []


def test_a_strangers_file_never_touches_the_disk(
    rig: Rig, node: Hypervisor, iso: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "receive", lambda *_: pytest.fail("it was taken before its sender was known"))
    body = b"--b\r\n" + HEAD.encode() + b"\r\n\r\n" + iso.read_bytes() + b"\r\n--b--\r\n"
    context = ssl.create_default_context(cafile=rig.ca)
    connection = http.client.HTTPSConnection(rig.host, rig.machine.port, context=context, timeout=20)
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    connection.request("POST", f"/api2/json{BASE}/local/upload", body, headers)
    assert connection.getresponse().status == 401
    connection.close()
    rig.call("POST", "/access/users", userid="ops@pve", password="long enough")
    client = rig.login("ops@pve", "long enough")
    with pytest.raises(ResourceException, match=r"Permission check failed \(/storage/local"):
        client(f"{BASE}/local/upload".strip("/")).create(content="iso", filename=_named(b"x", "x.iso"))
    assert left_over(rig) == []


def test_a_file_for_another_node_is_passed_on(two: tuple[Rig, Rig], iso: Path) -> None:
    first, second = two
    hypervisor(second)
    hypervisor(first)
    status, _ = sent(first, "local", "iso", iso, node=OTHER)
    assert status == "OK"
    assert second.machine.file("/var/lib/vz/template/iso/beat.iso").read_bytes() == iso.read_bytes()
    assert not first.machine.file("/var/lib/vz/template/iso/beat.iso").exists()
    assert left_over(first) == left_over(second) == []


def test_removing_what_was_sent(rig: Rig, node: Hypervisor) -> None:
    assert rig.task(rig.call("DELETE", f"{BASE}/cephfs/content/{ISO}"))[0] == "OK"
    assert rig.call("GET", f"{BASE}/cephfs/content") == []
    assert rig.task(rig.call("DELETE", f"{BASE}/cephfs/content/{ISO}"))[0] == f"volume '{ISO}' does not exist"


@pytest.mark.parametrize(
    "volume", ["local:iso/../../../../etc/shadow", "local:../etc/shadow", "iso/../x.iso", "cephfs:iso/x"]
)
def test_what_is_no_volume(rig: Rig, node: Hypervisor, volume: str) -> None:
    rig.machine.write("/etc/shadow.iso", "secret")
    for method in ("GET", "DELETE"):
        with pytest.raises(ResourceException) as error:
            rig.call(method, f"{BASE}/local/content/{quote(volume, safe='')}")
        assert error.value.status_code == 500


def test_disks_of_guests_are_listed_by_their_kind(rig: Rig) -> None:
    node = with_machine(rig)
    node.images["rbd-vms/other"] = 5
    (disk,) = rig.call("GET", f"{BASE}/rbd-vms/content")
    assert (disk["volid"], disk["content"], disk["vmid"]) == ("rbd-vms:vm-102-disk-0", "images", 102)
    assert rig.call("GET", f"{BASE}/rbd-vms/content", vmid=103) == []


def test_a_disk_of_a_container_is_a_root_folder(rig: Rig) -> None:
    with_container(rig)
    (disk,) = rig.call("GET", f"{BASE}/rbd-containers/content")
    assert (disk["content"], disk["size"]) == ("rootdir", 1 << 30)


class Trickle:
    """A connection that gives no more than a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._stream = io.BytesIO(data)
        self._step = step

    def read(self, size: int, /) -> bytes:
        return self._stream.read(min(size, self._step))


def form(boundary: bytes, fields: dict[str, str], data: bytes) -> bytes:
    parts = [f'Content-Disposition: form-data; name="{n}"\r\n\r\n{v}'.encode() for n, v in fields.items()]
    parts.append(HEAD.encode() + b"\r\n\r\n" + data)
    return (
        b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(st.sampled_from([b"\r\n", b"--", b"bo", b"\r\n--bo", b"x", b"\0"]), max_size=12).map(b"".join),
    st.dictionaries(st.sampled_from(["content", "checksum"]), st.text("abc \u00e9", max_size=5)),
    st.integers(1, 40),
)
def test_every_file_comes_whole(tmp_path: Path, data: bytes, fields: dict[str, str], step: int) -> None:
    """However the bytes arrive, and whatever they look like."""
    machine = Machine("node1", tmp_path)
    body = form(b"bound", fields, data)
    kind = "multipart/form-data; boundary=bound"
    found = upload.receive(machine, Trickle(body + b"next request", step), len(body), kind)
    place = machine.file(found.pop("tmpfilename"))
    assert place.read_bytes() == data and place.stat().st_mode & 0o777 == 0o600
    assert found == {**fields, "filename": "x.iso"}
    place.unlink()


@pytest.mark.parametrize("cut", [3, 60, 150, 200])
def test_a_form_that_breaks_off_leaves_nothing(tmp_path: Path, cut: int) -> None:
    machine = Machine("node1", tmp_path)
    body = form(b"bound", {"content": "iso"}, b"x" * 100)[:cut]
    with pytest.raises(ApiError) as error:
        upload.receive(machine, io.BytesIO(body), len(body), "multipart/form-data; boundary=bound")
    assert error.value.status == 400
    assert not list(machine.file(upload.FOLDER).glob("*")) if machine.file(upload.FOLDER).exists() else True


def test_a_form_without_a_boundary(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="upload failed - no boundary"):
        upload.receive(Machine("node1", tmp_path), io.BytesIO(b""), 0, "multipart/form-data")

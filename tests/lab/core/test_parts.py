"""Smaller parts of the rack: hands' book, progress, KVM's verdict, certificates, BMC passwords, cuts, ssh."""

from __future__ import annotations

import io
import json
import socket
import ssl
import threading
from pathlib import Path

import bcrypt
import pytest

from lab import bmc, cutting, kvm, physical, shell, snapshots, tls
from lab.errors import LabError
from lab.paths import State, cache_folder, state_folder
from lab.physical import Physical
from lab.progress import Progress
from lab.rack import Rack


def test_a_link_is_up_when_nobody_holds_it_down() -> None:
    book = Physical()
    book.set_link("node1p0", "cable", False)
    book.set_link("node1p0", "switch", False)
    book.set_link("node1p0", "cable", True)
    assert not book.link_up("node1p0")
    book.set_link("node1p0", "switch", True)
    assert book.link_up("node1p0")
    assert book.down == {}


def test_the_book_outlives_its_writer(state: State) -> None:
    assert physical.read(state) == Physical()
    with physical.change(state) as book:
        book.set_drive("node2", "DATA201", False)
        book.set_link("node2p1", "cable", False)
    again = physical.read(state)
    assert not again.in_bay("node2", "DATA201")
    assert again.in_bay("node2", "DATA202")
    assert not again.link_up("node2p1")


def test_writers_of_the_book_do_not_lose_each_other(state: State) -> None:
    def pull(number: int) -> None:
        with physical.change(state) as book:
            book.set_link(f"tap{number}", "cable", False)

    threads = [threading.Thread(target=pull, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(physical.read(state).down) == 20


def test_an_exception_leaves_the_book_as_it_was(state: State) -> None:
    with pytest.raises(LabError), physical.change(state) as book:
        book.set_link("tap", "cable", False)
        raise LabError("the server did not answer")
    assert physical.read(state) == Physical()


def test_progress_counts_and_tells_the_time() -> None:
    out = io.StringIO()
    progress = Progress(8, out, done=3, begun_s=12.0)
    progress.step("switches")
    progress("done")
    first, second = out.getvalue().splitlines()
    assert first.startswith("[ 4/8 ")
    assert "12." in first
    assert first.endswith("] switches")
    assert second.endswith("] done")


@pytest.mark.parametrize(("works", "verdict"), [(True, "kvm"), (False, "tcg")])
def test_kvm_is_believed_only_after_a_boot(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, works: bool, verdict: str
) -> None:
    calls: list[str] = []

    def probe(kernel: Path, initrd: Path, name: str) -> bool:
        calls.append(name)
        return works

    monkeypatch.setattr(kvm.os, "access", lambda *_: True)
    monkeypatch.setattr(kvm, "probe", probe)
    parts = (tmp_path / "vmlinuz", tmp_path / "initrd")
    assert kvm.accelerator(parts, tmp_path)[0] == verdict
    assert kvm.accelerator(parts, tmp_path)[0] == verdict
    assert calls == ["kvm"], "the second answer comes from the cache"
    record = json.loads((tmp_path / "kvm-probe.json").read_text(encoding="ascii"))
    (tmp_path / "kvm-probe.json").write_text(json.dumps({**record, "boot": "another"}), encoding="ascii")
    kvm.accelerator(parts, tmp_path)
    assert calls == ["kvm", "kvm"], "after a reboot it is probed again"


def test_without_a_device_there_is_no_kvm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kvm.os, "access", lambda *_: False)
    verdict, why = kvm.accelerator(None, tmp_path)
    assert verdict == "tcg"
    assert "no usable /dev/kvm" in why


def _served(certificate: Path, key: Path) -> tuple[socket.socket, ssl.SSLContext]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return socket.create_server(("127.0.0.1", 0)), context


@pytest.mark.parametrize(("address", "trusted"), [("127.0.0.1", True), ("127.0.0.2", False)])
def test_certificates_hold_for_their_address_only(state: State, address: str, trusted: bool) -> None:
    certificate, key = tls.issue(state, "endpoint", [address], ["endpoint.rack.example"])
    assert key.stat().st_mode & 0o777 == 0o600
    server, context = _served(certificate, key)

    def answer() -> None:
        connection, _ = server.accept()
        try:
            with context.wrap_socket(connection, server_side=True):
                pass
        except ssl.SSLError:
            connection.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    client = ssl.create_default_context(cafile=str(tls.ca(state)))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    with socket.create_connection(server.getsockname(), timeout=5) as plain:
        if trusted:
            client.wrap_socket(plain, server_hostname="127.0.0.1").close()
        else:
            with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
                client.wrap_socket(plain, server_hostname="127.0.0.1")
    thread.join(timeout=5)
    server.close()


def test_certificates_are_kept(state: State) -> None:
    first = tls.issue(state, "endpoint", ["10.9.0.11"])[0].read_bytes()
    assert tls.issue(state, "endpoint", ["10.9.0.11"])[0].read_bytes() == first
    with pytest.raises(LabError, match="certificate of other"):
        tls.issue(state, "other", ["not an address"])


def test_each_bmc_has_a_password_of_its_own(hardware: Rack, state: State) -> None:
    bmc.prepare(hardware, state)
    words = {bmc.password(state, server) for server in hardware.server}
    assert len(words) == 3
    for server in hardware.server:
        file = bmc.accounts_file(state, server)
        assert file.stat().st_mode & 0o777 == 0o600
        user, hashed = file.read_text(encoding="ascii").strip().split(":", 1)
        assert user == hardware.oob.bmc_user
        assert bcrypt.checkpw(bmc.password(state, server).encode(), hashed.encode())


def test_a_changed_password_is_what_the_bmc_takes(hardware: Rack, state: State) -> None:
    bmc.prepare(hardware, state)
    server = hardware.server[1]
    bmc.set_password(hardware, state, server, "another one")
    hashed = bmc.accounts_file(state, server).read_text(encoding="ascii").strip().split(":", 1)[1]
    assert bcrypt.checkpw(b"another one", hashed.encode())
    assert bmc.password(state, server) == "another one"


@pytest.mark.parametrize("pair", ["node1", "node1:node1", "node1:", "node1:node9", "nobody:node1"])
def test_a_cut_needs_two_points(hardware: Rack, pair: str) -> None:
    with pytest.raises(LabError):
        cutting.cut(hardware, pair, 1.0)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 61.0, float("nan")])
def test_a_cut_has_an_end(hardware: Rack, seconds: float) -> None:
    with pytest.raises(LabError, match="--for"):
        cutting.cut(hardware, "node1:node2", seconds)


def test_ssh_goes_to_the_server_with_the_automation_key(hardware: Rack, state: State) -> None:
    with pytest.raises(LabError, match="no such key"):
        shell.command(hardware, state, "node2", [])
    (state.secrets / "ssh").mkdir()
    (state.secrets / "ssh" / "ansible").touch()
    argv = shell.command(hardware, state, "node2", ["uptime", "-p"])
    assert argv[0] == "ssh"
    assert argv[-3:] == ["root@10.6.0.12", "uptime", "-p"]


def test_a_save_that_was_killed_does_not_count(state: State) -> None:
    (state.saves / "half").mkdir()
    (state.saves / "whole").mkdir()
    (state.saves / "whole" / snapshots.MANIFEST).write_text("[]", encoding="ascii")
    assert snapshots.names(state) == ["whole"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "Upper", "-x", "x" * 33, "a b"])
def test_names_of_saves_are_checked(hardware: Rack, state: State, name: str) -> None:
    with pytest.raises(LabError, match="cannot be a name"):
        snapshots.save(hardware, state, name)


def test_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RACKPROOF_STATE", str(tmp_path / "here"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert state_folder().root == tmp_path / "here"
    assert cache_folder() == tmp_path / "cache" / "rackproof"
    monkeypatch.delenv("RACKPROOF_STATE")
    assert state_folder().root.name == ".rack"

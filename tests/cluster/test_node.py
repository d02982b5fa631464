"""Commands on a node, against a real SSH connection on loopback: what fails, fails as what it is."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from cluster import node as node_module
from cluster import ssh as ssh_module
from cluster.errors import DeadlineError, RackproofError, UnreachableError
from cluster.node import CommandError, Node
from cluster.ssh import SshFolder, SshHost
from tests.cluster.fakes.ssh_server import FakeNode


@dataclass
class Spec:
    name: str = "node1"
    address: IPv4Address = field(default_factory=lambda: IPv4Address("127.0.0.1"))


@dataclass
class Bench:
    """A node of the harness, joined to a fake one."""

    fake: FakeNode
    host_key: str | None = None
    told: list[tuple[str, str, str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.host_key = self.fake.public_host_key
        host = SshHost("node1", "127.0.0.1", "/pve1/nodes/node1/ssh_host_key", self.fake.port)
        self.ssh = SshFolder("root", [host], lambda: self.fake.private_key, lambda _: self.host_key)
        self.node = Node(Spec(), self.ssh, lambda *what: self.told.append(what))


@pytest.fixture
def bench() -> Iterator[Bench]:
    with FakeNode() as fake:
        made = Bench(fake)
        yield made
        made.ssh.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    with FakeNode() as fake:
        made = Bench(fake)
        yield made
        made.ssh.close()


def test_output_errors_and_status_come_back(shared: Bench) -> None:
    result = shared.node.run("printf out; printf err >&2; exit 3", check=False)
    assert (result.rc, result.stdout, result.stderr, result.ok) == (3, "out", "err", False)


def test_arguments_are_quoted_and_percent_signs_kept(shared: Bench) -> None:
    assert shared.node.run("printf '%%s' %s", "a b; echo $HOME 'x'").stdout == "a b; echo $HOME 'x'"
    assert shared.node.run("date +%Y").stdout.startswith("20")


def test_a_failed_command_is_one_sentence(shared: Bench) -> None:
    with pytest.raises(
        CommandError, match=r"node1 \(127.0.0.1\): `ls /nowhere` failed with 2: .*No such file"
    ) as told:
        shared.node.run("ls /nowhere")
    assert told.value.result.rc == 2


def test_status_255_of_a_command_is_no_lost_connection(shared: Bench) -> None:
    with pytest.raises(CommandError, match="failed with 255"):
        shared.node.run("exit 255")


def test_a_command_that_cannot_be_parsed_failed(shared: Bench) -> None:
    with pytest.raises(CommandError, match="failed with 2"):
        shared.node.run("if then")


def test_a_command_with_its_own_here_document_and_comment(shared: Bench) -> None:
    assert shared.node.run("cat <<X\n$((1+1))\nX\n# done").stdout == "2\n"


def test_a_command_does_not_read_the_script(shared: Bench) -> None:
    assert shared.node.run("cat; echo end").stdout == "end\n"


def test_a_command_past_its_deadline_is_ended_on_the_node(shared: Bench) -> None:
    begin = time.monotonic()
    with pytest.raises(
        DeadlineError, match=r"node1 \(127.0.0.1\): `sleep 61.25` did not finish within 0.5 s"
    ):
        shared.node.run("sleep 61.25", timeout=0.5)
    assert time.monotonic() - begin < 20
    time.sleep(0.2)
    assert (
        "sleep 61.25"
        not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, timeout=9).stdout
    )


def test_a_file_is_put_whole_and_its_text_stands_on_no_command_line(shared: Bench, tmp_path: Path) -> None:
    secret = "line 1\n$HOME 'quoted' \\ no newline at the end: ümläut"
    target = tmp_path / "a file"
    shared.node.put(secret, str(target), 0o640)
    assert target.read_text() == secret
    assert target.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["a file"]
    assert all("quoted" not in command for command in shared.fake.commands)
    assert all("quoted" not in command for _, command, _, _ in shared.told)


def test_sections_keep_text_status_and_errors(shared: Bench) -> None:
    found = shared.node.gather(
        """
section one; printf 'no newline'
section two; echo a; cat; ls /nowhere
section empty
section three; echo '{"json": 1}'; (exit 7)
"""
    )
    assert dict(found) == {"one": "no newline", "two": "a\n", "empty": "", "three": '{"json": 1}\n'}
    assert found.rc == {"one": 0, "two": 2, "empty": 0, "three": 7}
    assert "nowhere" in found.errors["two"]
    assert found.errors["one"] == ""


def test_a_script_that_exits_keeps_what_it_gathered(shared: Bench) -> None:
    found = shared.node.gather("section one; echo a; exit 4; section two")
    assert (dict(found), found.rc) == ({"one": "a\n"}, {"one": 4})


def test_an_output_cannot_forge_a_section(shared: Bench) -> None:
    found = shared.node.gather("section one; echo '0123456789abcdef0123456789abcdef 0 two'")
    assert list(found) == ["one"]


def test_a_script_that_cannot_be_parsed_is_no_lost_connection(shared: Bench) -> None:
    with pytest.raises(CommandError, match="ended early with 2"):
        shared.node.gather("section one; if")


def test_a_script_past_its_deadline_says_where_it_was(shared: Bench) -> None:
    with pytest.raises(DeadlineError, match=r"at section slow.* within 1.5 s"):
        shared.node.gather("section quick; true; section slow; sleep 30", timeout=1.5)


def test_the_transcript_is_told_without_markers(shared: Bench) -> None:
    shared.told.clear()
    shared.node.gather("section one; echo text")
    (where, command, output, seconds) = shared.told[-1]
    assert (where, command) == ("node1", "section one; echo text")
    assert output.startswith("# .begin\n# one\ntext\n# .end\n")
    assert 0 < seconds < 30


def test_testinfra_runs_through_the_same_connection(shared: Bench, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("text")
    assert shared.node.host.file(str(tmp_path / "x")).content_string == "text"
    assert shared.node.host.run("exit 5").rc == 5


def test_one_connection_serves_many_threads(bench: Bench) -> None:
    threads = [threading.Thread(target=bench.node.run, args=("sleep 0.2",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(bench.fake.connections) == 1


def test_a_deadline_of_one_command_does_not_end_another(bench: Bench) -> None:
    bench.node.run("true")
    results: list[str] = []
    other = threading.Thread(target=lambda: results.append(bench.node.run("sleep 2; echo whole").stdout))
    other.start()
    with pytest.raises(DeadlineError):
        bench.node.run("sleep 30", timeout=0.5)
    assert bench.node.reachable(0.01) is False
    other.join(20)
    assert results == ["whole\n"]


def test_a_login_that_worked_too_late_is_not_reachable(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    late = node_module._Answer(0, "", "", 9.0, 0.5, late=True)
    monkeypatch.setattr(node_module, "_spawn", lambda *_: late)
    assert bench.node.reachable(0.5) is False


def test_an_ssh_that_hangs_and_leaves_its_pipes_to_another_is_ended() -> None:
    other = "echo begun; echo why >&2; setsid sleep 7.25 & sleep 30"
    begin = time.monotonic()
    answer = node_module._spawn(["/bin/sh", "-c", other], b"", 0.5)
    assert time.monotonic() - begin < 6
    assert (answer.late, answer.stdout, answer.stderr) == (True, "begun\n", "why\n")


def test_a_lost_connection_is_unreachable_and_the_next_command_makes_a_new_one(bench: Bench) -> None:
    bench.node.run("true")
    threading.Timer(0.5, bench.fake.cut).start()
    with pytest.raises(UnreachableError, match=r"node1 \(127.0.0.1\) did not answer by SSH"):
        bench.node.run("sleep 20", timeout=20)
    assert bench.node.run("echo back").stdout == "back\n"


def test_a_host_that_is_down_is_unreachable(bench: Bench) -> None:
    bench.fake.stop_listening()
    with pytest.raises(
        UnreachableError, match=r"node1 \(127.0.0.1\) did not answer by SSH within 10 s.*refused"
    ):
        bench.node.run("true")
    assert bench.node.reachable(1) is False


def test_reachable_makes_a_login_of_its_own(bench: Bench) -> None:
    assert bench.node.reachable(5) is True
    assert bench.node.reachable(5) is True
    assert len(bench.fake.connections) == 2


def test_another_host_key_is_not_spoken_to(bench: Bench) -> None:
    with FakeNode() as other:
        bench.host_key = other.public_host_key
    with pytest.raises(UnreachableError, match="not the one in parameter /pve1/nodes/node1/ssh_host_key"):
        bench.node.run("true")
    assert bench.fake.commands == []


def test_an_unknown_host_key_is_not_spoken_to_until_it_is_known(bench: Bench) -> None:
    known, bench.host_key = bench.host_key, None
    with pytest.raises(
        UnreachableError, match="its SSH host key is not known, there is no parameter /pve1/nodes"
    ):
        bench.node.run("true")
    assert bench.node.reachable(1) is False
    assert bench.fake.connections == []
    bench.host_key = known
    assert bench.node.run("echo known").stdout == "known\n"


def test_a_refused_key_is_told(bench: Bench) -> None:
    bench.ssh._private_key = lambda: FakeNode().private_key
    with pytest.raises(UnreachableError, match=r"refuses user root with the key of ssh.private_key"):
        bench.node.run("true")


def test_the_key_lives_in_a_private_folder_until_close(bench: Bench) -> None:
    bench.node.run("true")
    folder = bench.ssh.config().parent
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    assert (folder / "node1.sock").exists()
    bench.ssh.close()
    assert not folder.exists()


def test_what_a_killed_run_left_is_removed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setattr(ssh_module, "_MEMORY", Path(short))
        _check_sweep(bench, Path(short))


def _check_sweep(bench: Bench, tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait(10)
    left, alive = tmp_path / f"rackproof-{ended.pid}-abc", tmp_path / "rackproof-1-abc"
    left.mkdir()
    alive.mkdir()
    bench.node.run("true")
    assert not left.exists()
    assert alive.exists()
    bench.ssh.close()


def test_a_folder_too_deep_for_sockets_is_refused(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_module, "_MEMORY", tmp_path / ("x" * 60))
    (tmp_path / ("x" * 60)).mkdir()
    with pytest.raises(RackproofError, match="too long a path for SSH control sockets"):
        bench.node.run("true")

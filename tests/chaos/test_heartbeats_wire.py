"""The watchers end to end: real programs, real HTTP, a shell over files as a node's kernel shows them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos import heartbeats, heartbeats_locks, heartbeats_nodes, heartbeats_vantage
from chaos.heartbeats import Heartbeats
from chaos.heartbeats_record import Record, read
from chaos.heartbeats_report import judge
from chaos.heartbeats_stream import Far, python
from chaos.heartbeats_twice import RunningTwiceError, seen_twice
from cluster.errors import RackproofError, UnknownError
from cluster.site import ROOT, load
from cluster.site_services import Guest
from tests.chaos.shell_node import Node

CT = Guest.model_validate(
    {"name": "beat-ct", "kind": "container", "vmid": 9001, "network": "vlan1", "address": "10.1.0.201/24",
     "storage": "rbd-containers", "memory": "64MiB"}
)  # fmt: skip
VM = CT.model_copy(update={"name": "beat-vm", "kind": "vm", "vmid": 9002})
SITE = load(ROOT / "sites" / "lab.toml").model_copy(update={"guests": (CT, VM)})
AGENT = Path(heartbeats_vantage.__file__).with_name("heartbeats_agent.py")


class Service(BaseHTTPRequestHandler):
    """A guest's heartbeat service: one more at each question, unless told to do something else."""

    server: Any

    def do_GET(self) -> None:
        self.server.counter += 1
        how = self.server.how
        if how == "hangs":
            self.server.released.wait(10)
            return
        body = json.dumps(
            {
                "guest": self.server.guest,
                "boot": self.server.boot,
                "host": "h",
                "counter": self.server.counter,
            }
        )
        self.send_response(404 if how == "404" else 200)
        self.end_headers()
        self.wfile.write(body[: 10 if how == "half" else None].encode())

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def service() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.counter, server.how, server.guest, server.boot = 0, "", CT.name, "boot-1"
    server.released = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def nodes(tmp_path: Path) -> dict[str, Node]:
    return {name: Node(name, tmp_path / name) for name in ("node1", "node2")}


class Bmc:
    state = "On"
    reset_s = 1.0

    def power_and_reset(self) -> tuple[str, float | None]:
        if self.state == "lost":
            raise RackproofError("the BMC does not answer")
        return self.state, self.reset_s


def asking(port: int, timeout_s: float = 0.4, name: str = CT.name) -> Callable[[], Far]:
    config = json.loads(heartbeats_vantage.settings([CT], 0.05, 60))
    config.update(guests=[[name, "127.0.0.1", port]], timeout_ns=int(timeout_s * 1e9))
    words, first = python(AGENT.read_text(), json.dumps(config))
    return lambda: Far("here", [sys.executable, *words], first)


@pytest.fixture
def watch(
    service: Any, nodes: dict[str, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Heartbeats]:
    monkeypatch.setattr(heartbeats, "START_S", 20.0)
    monkeypatch.setattr(heartbeats_locks, "INTERVAL_S", 0.2)
    for name, value in (("SILENT_S", 0.5), ("POWER_S", 0.1)):
        monkeypatch.setattr(heartbeats_nodes, name, value)
    nodes["node1"].contain(9001, 77)
    cluster: Any = SimpleNamespace(
        nodes=nodes, bmcs={name: Bmc() for name in nodes}, site=SITE.model_copy(update={"ceph": None})
    )
    made = Heartbeats(
        cluster, [CT], 0.1, 60, path=tmp_path / "run" / "heartbeats.jsonl",
        asking=asking(service.server_address[1]), root="$HERE",
    )  # fmt: skip
    yield made
    made.stop()


def shows(watch: Heartbeats, true: Callable[[Record], bool], what: str) -> Record:
    return watch.until(true, 15, what)


def running(record: Record, node: str) -> list[str]:
    return [sight.running.get(CT.name, "") for sight in record.sights if sight.node == node]


def test_a_guest_is_heard_and_seen_and_all_is_written_down(
    watch: Heartbeats, service: Any, tmp_path: Path
) -> None:
    with watch:
        shows(watch, lambda r: len([b for b in r.beats if b.heard]) >= 10, "ten beats")
    record = watch.record
    judge(record).prove()
    assert "0 counters back, 0 seen twice" in judge(record).summary()
    assert {beat.boot for beat in record.beats if beat.heard} == {"boot-1"}
    assert set(running(record, "node1")) == {"77.539"} and set(running(record, "node2")) == {""}
    assert {s.kernel for s in record.sights if s.node == "node1"} == {"kernel-of-node1"}
    for beat in record.beats:
        assert beat.asked_ns <= beat.told_ns <= record.until_ns + int(1e9)
    for sight in record.sights:
        assert sight.first_lo_ns <= sight.first_hi_ns and sight.last_lo_ns <= sight.last_hi_ns
        assert sight.first_hi_ns - sight.first_lo_ns < 0.5e9, "both ends of a sample lie close together here"
        assert sight.widest_ns < 1.5e9
    assert read(tmp_path / "run" / "heartbeats.jsonl") == record
    assert watch.stop() == record


@pytest.mark.parametrize(("says", "early_ns"), [("23414516", 23_414_516_000), ("0", 0), ("", 0), ("x; y", 0)])
def test_a_node_tells_when_services_could_start(
    watch: Heartbeats, nodes: dict[str, Node], says: str, early_ns: int
) -> None:
    nodes["node1"].systemctl(shlex.quote(says))
    watch.start()
    record = shows(watch, lambda r: any(s.node == "node1" for s in r.sights), "a node")
    assert {s.early_ns for s in record.sights if s.node == "node1"} == {early_ns}


def test_a_record_that_was_cut_off_is_read_as_far_as_it_goes(watch: Heartbeats, tmp_path: Path) -> None:
    with watch:
        shows(watch, lambda r: len(r.beats) >= 10, "ten questions")
    path = tmp_path / "run" / "heartbeats.jsonl"
    lines = path.read_text().split("\n")
    path.write_text("\n".join(lines[:-3]) + '\n{"k":"beat","vant')
    record = read(path)
    assert record.beats == watch.record.beats[: len(record.beats)] and record.beats
    assert record.since_ns < record.until_ns <= watch.record.until_ns + int(1e9)
    path.write_text('{"k":"beat","x":1}\n')
    with pytest.raises(RackproofError, match=r"heartbeats.jsonl:1: expected an event"):
        read(path)
    path.write_text("")
    with pytest.raises(RackproofError, match="it has no beginning"):
        read(path)


def test_a_second_copy_by_hand_is_named_with_both_nodes(watch: Heartbeats, nodes: dict[str, Node]) -> None:
    with watch:
        shows(watch, lambda r: len(r.beats) >= 5, "five questions")
        nodes["node2"].contain(9001, 88)
        shows(watch, lambda r: bool(seen_twice(r).findings), "the second copy")
        nodes["node2"].contain(9001, 88, running=False)
        shows(watch, lambda r: running(r, "node2")[-1] == "", "its end")
    with pytest.raises(RunningTwiceError, match=r"node1 \(77\.539\) and node2 \(88\.616\)"):
        judge(watch.record).prove()


def test_a_watcher_that_is_killed_is_begun_again_and_that_is_told(
    watch: Heartbeats, nodes: dict[str, Node]
) -> None:
    with watch:
        shows(
            watch, lambda r: any(s.node == "node2" and s.last_lo_ns > r.since_ns for s in r.sights), "node2"
        )
        nodes["node2"].boots("kernel-2")
        nodes["node2"].kill()
        record = shows(watch, lambda r: any(s.kernel == "kernel-2" for s in r.sights), "the node again")
    (trouble,) = record.trouble
    assert trouble.watcher == "node2"
    before = max(s.last_lo_ns for s in record.sights if s.node == "node2" and s.kernel != "kernel-2")
    after = min(s.first_hi_ns for s in record.sights if s.node == "node2" and s.kernel == "kernel-2")
    assert seen_twice(record).resolution_s >= (after - before) / 1e9 - 0.01, "it was blind for so long"


def test_a_silent_node_has_its_bmc_asked(watch: Heartbeats, nodes: dict[str, Node]) -> None:
    with watch:
        bmc = watch._watches[1]._bmc
        assert isinstance(bmc, Bmc)
        bmc.state = "lost"
        os.kill(int((nodes["node2"].folder / "pid").read_text()), signal.SIGSTOP)
        record = shows(watch, lambda r: any(p.failed for p in r.power), "a BMC that does not answer")
        bmc.state = "Off"
        record = shows(watch, lambda r: any(p.state == "Off" for p in r.power), "the BMC's word")
    once = [power for power in record.power if power.node == "node1"]
    assert [(power.state, power.reset_s) for power in once] == [("On", 1.0)], "before anything is broken"


@pytest.mark.parametrize(
    ("state", "reset_s", "told"),
    [("Off", 1.0, "its BMC says Off"), ("On", 90.0, "its BMC says that it was reset")],
)
def test_a_node_that_its_bmc_calls_ended_is_connected_to_anew(
    watch: Heartbeats, nodes: dict[str, Node], state: str, reset_s: float, told: str
) -> None:
    """TCP would find out that nobody is there any more a minute after the node is back."""
    with watch:
        bmc = watch._watches[1]._bmc
        assert isinstance(bmc, Bmc)
        shows(watch, lambda r: len([p for p in r.power if p.node == "node2"]) == 1, "its BMC's first word")
        os.kill(int((nodes["node2"].folder / "pid").read_text()), signal.SIGSTOP)
        nodes["node2"].boots("kernel-2")
        shows(watch, lambda r: len([p for p in r.power if p.node == "node2"]) > 3, "silence")
        assert not watch.record.trouble, "its BMC says nothing new, and what it saw may yet arrive"
        bmc.state, bmc.reset_s = state, reset_s
        record = shows(watch, lambda r: any(s.kernel == "kernel-2" for s in r.sights), "the node again")
    assert [(each.watcher, each.why) for each in record.trouble] == [("node2", told)]


def test_what_the_manager_wrote_is_told_when_it_changes(watch: Heartbeats, nodes: dict[str, Node]) -> None:
    def write(state: str, more: int = 0) -> None:
        status = {
            "master_node": "node2", "timestamp": 1, "node_status": {"node1": state},
            "service_status": {CT.sid: {"node": "node1", "state": "started", "uid": "x" * more}},
        }  # fmt: skip
        (nodes["node2"].folder / "etc/pve/ha/manager_status").write_text(json.dumps(status, indent=1))

    with watch:
        write("online")
        shows(watch, lambda r: any(s.nodes == {"node1": "online"} for s in r.ha), "the first state")
        write("unknown", more=3000)
        record = shows(watch, lambda r: any(s.nodes == {"node1": "unknown"} for s in r.ha), "the next state")
        (nodes["node2"].folder / "etc/pve/ha/manager_status").write_text('{"half": ')
        time.sleep(1.5)
    assert [state.nodes["node1"] for state in watch.record.ha] == ["online", "unknown"]
    assert record.ha[-1].services == {CT.sid: ("node1", "started")} and record.ha[-1].by == "node2"


def test_nothing_that_was_started_stays(watch: Heartbeats, nodes: dict[str, Node]) -> None:
    with watch:
        pids = [int((node.folder / "pid").read_text()) for node in nodes.values()]
        (child,) = {int(p) for p in Path(f"/proc/{pids[0]}/task/{pids[0]}/children").read_text().split()}
    for pid in (*pids, child):
        assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_guest_that_is_not_heard_is_named(
    watch: Heartbeats, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "START_S", 1.0)
    service.how = "404"
    with pytest.raises(UnknownError, match="did not begin within 1 s: beat-ct was not heard"), watch:
        raise AssertionError("it began")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("404", "HTTP status 404"),
        ("half", "the answer is no heartbeat"),
        ("hangs", "no answer within 0.4 s"),
        ("another", "beat-vm answered in its place"),
        ("gone", "Connection refused"),
    ],
)
def test_why_a_guest_was_not_heard(watch: Heartbeats, service: Any, how: str, why: str) -> None:
    with watch:
        service.how = how
        if how == "another":
            service.guest = VM.name
        if how == "gone":
            service.socket.close()
        record = shows(watch, lambda r: sum(beat.missing == why for beat in r.beats) >= 3, why)
        if how == "hangs":
            late = [beat.told_ns - beat.asked_ns for beat in record.beats if beat.missing]
            assert min(late) > 0.35e9, "a question is given its time"
            open_now = max(
                sum(o.asked_ns < b.asked_ns < o.told_ns for o in record.beats) for b in record.beats
            )
            assert open_now <= 30, "and few are open at a time"
        service.how, service.guest = "", CT.name
        if how != "gone":
            shows(watch, lambda r: r.of(CT.name)[-1].heard, "it is heard again")


def test_questions_that_are_not_answered_are_bounded(service: Any) -> None:
    """At most `most` are open: the guest sees no more connections than that."""
    service.how = "hangs"
    config = {
        "guests": [[CT.name, "127.0.0.1", service.server_address[1]]], "interval_ns": 10_000_000,
        "timeout_ns": 60_000_000_000, "most": 3, "limit_s": 1.0, "quiet_s": 60,
    }  # fmt: skip
    words, first = python(AGENT.read_text(), json.dumps(config))
    done = subprocess.run(
        [sys.executable, *words], input=first + b"", capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 0 and service.counter <= 3


class TestWhatANodeShows:
    """The shell's word, for each way in which a guest can be there."""

    @pytest.fixture
    def node(self, tmp_path: Path) -> Node:
        return Node("node1", tmp_path / "node1")

    def told(self, node: Node) -> dict[str, str]:
        """The first line about what runs."""
        settings = heartbeats_nodes._settings({9001: CT, 9002: VM}, 0.05, 60, "$HERE")
        program = settings + Path(heartbeats_nodes.__file__).with_name("heartbeats_places.sh").read_text()
        env = {**os.environ, "HERE": str(node.folder)}
        done = subprocess.run(
            ["bash", "-s"], input=program, capture_output=True, text=True, env=env, timeout=20, check=False
        )
        (line, *_) = [line for line in done.stdout.splitlines() if line.startswith("runs ")]
        return dict(word.split("=") for word in line.split()[3:])

    def test_nothing(self, node: Node) -> None:
        assert self.told(node) == {}

    def test_a_container_of_proxmox(self, node: Node) -> None:
        node.contain(9001, 5)
        node.contain(9009, 6)
        assert self.told(node) == {"9001": "5.35"}, "and only of the guests that are asked for"

    def test_a_container_that_is_stopping_has_no_processes(self, node: Node) -> None:
        node.contain(9001, 5, running=False)
        assert self.told(node) == {}

    def test_a_container_of_plain_lxc(self, node: Node) -> None:
        node.process(5, "lxc-start")
        node.group("lxc.payload.9001", 8)
        node.group("lxc.monitor.9001", 5)
        assert self.told(node) == {"9001": "5.35"}

    def test_a_container_without_a_monitor(self, node: Node) -> None:
        node.group("lxc/9001", 8)
        assert self.told(node) == {"9001": "-"}

    def test_a_machine(self, node: Node) -> None:
        node.machine(9002, 6)
        assert self.told(node) == {"9002": "6.42"}

    def test_a_machine_of_the_rack(self, node: Node) -> None:
        node.machine(9002, 6, name="qemu-system-x86")
        assert self.told(node) == {"9002": "6.42"}

    def test_a_machine_that_was_begun_to_receive(self, node: Node) -> None:
        node.machine(9002, 6, "-incoming", "tcp:10.6.0.11:60000", "-S")
        assert self.told(node) == {"9002": "6.42i"}

    def test_a_pid_file_that_was_left(self, node: Node) -> None:
        (node.folder / "run/qemu-server/9002.pid").write_text("6\n")
        assert self.told(node) == {}
        node.process(6, "sshd")
        assert self.told(node) == {}, "another process has the number by now"

    def test_a_machine_without_its_pid_file(self, node: Node) -> None:
        node.process(6, "kvm", "/usr/bin/kvm")
        node.group("qemu.slice/9002.scope", 6)
        assert self.told(node) == {"9002": "6.42"}

    def test_what_is_left_of_a_machine_does_not_run(self, node: Node) -> None:
        node.machine(9002, 6)
        stat = node.folder / "proc/6/stat"
        stat.write_text(stat.read_text().replace(") S ", ") Z "))
        assert self.told(node) == {}


RBD = """
import json, os
class Rados:
    def __init__(self, **_): ...
    def connect(self, timeout): self.deaf = os.path.exists(os.environ["HERE"] + "/deaf")
    def open_ioctx(self, pool):
        assert pool == "rbd-containers"
        return self
    def __enter__(self): return self
    def __exit__(self, *_): ...
class Image(Rados):
    def __init__(self, context, name, read_only):
        assert read_only and name == "vm-9001-disk-0"
        if context.deaf: raise TimeoutError("operation timeout")
        self.told = json.load(open(os.environ["HERE"] + "/ceph.json"))
    def list_lockers(self):
        held = self.told["lockers"]
        return {"tag": "", "exclusive": True, "lockers": held} if held else []
    def watchers_list(self): return iter([{"addr": a, "id": 1, "cookie": 2} for a in self.told["watchers"]])
"""


@pytest.fixture
def ceph(nodes: dict[str, Node], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, list[Any]]]:
    monkeypatch.setattr(heartbeats_locks, "INTERVAL_S", 0.1)
    for node in nodes.values():
        for module in ("rados", "rbd"):
            (node.folder / "lib" / f"{module}.py").write_text(RBD)
    kept: list[Any] = []
    cluster: Any = SimpleNamespace(nodes=nodes, site=SITE)
    watch = heartbeats_locks.LockWatch(cluster, [CT], (), kept.append, 60)
    yield watch, kept
    watch.close()


def await_(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 15
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within 15 s"
        time.sleep(0.02)


def tell(nodes: dict[str, Node], lockers: list[list[str]], watchers: list[str]) -> None:
    for node in nodes.values():
        (node.folder / "ceph.json").write_text(json.dumps({"lockers": lockers, "watchers": watchers}))


def test_owners_and_watchers_are_told_by_their_nodes(ceph: Any, nodes: dict[str, Node]) -> None:
    watch, kept = ceph
    tell(nodes, [["client.4", "auto 1", "10.6.0.12:0/77"]], ["10.6.0.12:0/77", "v1:192.0.2.1:0/5"])
    watch.start()
    await_(lambda: any(not each.failed for each in kept), "a look")
    found = next(each for each in kept if not each.failed)
    assert (found.guest, found.owners) == (CT.name, (("client.4", "auto 1", "node2"),))
    assert found.watchers == ("192.0.2.1", "node2")
    assert found.asked_ns <= found.watched[0] <= found.watched[1] <= found.told_ns
    await_(lambda: any(not (each.failed or each.owners) for each in kept), "a question for watchers alone")
    assert next(each for each in kept if not (each.failed or each.owners)).watchers == found.watchers


def test_nobody_holds_the_lock(ceph: Any, nodes: dict[str, Node]) -> None:
    watch, kept = ceph
    tell(nodes, [], [])
    watch.start()
    await_(lambda: bool(kept), "a look")
    assert (kept[0].owners, kept[0].watchers, kept[0].failed) == ((), (), "")


def test_an_image_that_is_not_there_and_a_node_that_is_lost(ceph: Any, nodes: dict[str, Node]) -> None:
    watch, kept = ceph
    watch.start()
    await_(lambda: any("No such file" in getattr(each, "failed", "") for each in kept), "a look that failed")
    tell(nodes, [], [])
    first = next(node for node in nodes.values() if (node.folder / "locks.pid").exists())
    os.kill(int((first.folder / "locks.pid").read_text()), signal.SIGKILL)
    await_(lambda: all((node.folder / "locks.pid").exists() for node in nodes.values()), "the other node")
    await_(lambda: getattr(kept[-1], "failed", "x") == "", "a look from there")
    assert [each.watcher for each in kept if hasattr(each, "watcher")] == ["locks"]


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"CLIENTS": 10**6}, None),
        ({"CLIENTS": 10**6, "DEAF_S": 1.0}, "Ceph told nothing for 1 s"),
        ({"CLIENTS": 3}, "3 clients became deaf, each of which takes memory"),
    ],
)
def test_a_client_that_stays_deaf_is_begun_anew(
    limits: dict[str, float],
    told: str | None,
    ceph: Any,
    nodes: dict[str, Node],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seen after two nodes of three were lost: each request ran into its limit, long after Ceph was back."""
    for name, limit in limits.items():
        monkeypatch.setattr(heartbeats_locks, name, limit)
    _, kept = ceph
    cluster: Any = SimpleNamespace(nodes=nodes, site=SITE)
    tell(nodes, [], [])
    for node in nodes.values():
        (node.folder / "deaf").touch()
    watch = heartbeats_locks.LockWatch(cluster, [CT], (), kept.append, 60)
    try:
        watch.start()
        await_(lambda: any(getattr(each, "failed", "") for each in kept), "a look that failed")
        if told is not None:
            await_(lambda: any(hasattr(each, "why") for each in kept), "a program that gave up")
        for node in nodes.values():
            (node.folder / "deaf").unlink()
        await_(lambda: any(getattr(each, "failed", "x") == "" for each in kept), "a look by another client")
        assert {each.why for each in kept if hasattr(each, "why")} == ({told} if told is not None else set())
    finally:
        watch.close()


def test_a_watch_that_was_never_started_is_ended_all_the_same(watch: Heartbeats) -> None:
    assert watch.stop().beats == ()


def test_two_watches_of_one_file_are_refused(tmp_path: Path, nodes: dict[str, Node]) -> None:
    (tmp_path / "there").write_text("kept")
    cluster: Any = SimpleNamespace(nodes=nodes, bmcs={}, site=SITE)
    with pytest.raises(FileExistsError):
        Heartbeats(cluster, [CT], path=tmp_path / "there", asking=lambda: Far("", [], b""))

"""From where guests are heard: the controller where it is in their networks, else a port of a node's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos import heartbeats_vantage
from chaos.heartbeats_stream import Clock, Stream
from chaos.heartbeats_vantage import free_address, port_script, settings, vantage
from chaos.probe import CONTROLLER
from cluster.errors import UnknownError
from tests.chaos.test_heartbeats_wire import CT, SITE, VM

SERVICE = """
import http.server, json, sys
class Service(http.server.BaseHTTPRequestHandler):
    counter = 0
    def do_GET(self):
        Service.counter += 1
        self.send_response(200); self.end_headers()
        told = {"guest": "beat-ct", "boot": "b", "host": self.client_address[0], "counter": Service.counter}
        self.wfile.write(json.dumps(told).encode())
    def log_message(self, *_): ...
http.server.HTTPServer(("10.1.0.201", 8080), Service).serve_forever()
"""


def cluster_of(nodes: Any) -> Any:
    return SimpleNamespace(nodes=nodes, site=SITE)


class Told:
    """A node that only tells what it would run."""

    def __init__(self, name: str) -> None:
        self.name = name

    def argv(self, command: str, *, multiplexed: bool = False, options: tuple[str, ...] = ()) -> list[str]:
        return [self.name, command]


NODES = {name: Told(name) for name in ("node1", "node2", "node3")}


def own_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(heartbeats_vantage, "local_address", lambda towards: address)


def test_a_controller_in_the_guests_network_asks_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    own_address(monkeypatch, "10.1.0.1")
    far = vantage(cluster_of(NODES), [CT, VM], (), 0.25, 60)()
    assert (far.place, far.line[0]) == (CONTROLLER, sys.executable)
    config = json.loads(far.first.splitlines()[-1])
    assert config["guests"] == [["beat-ct", "10.1.0.201", 8080], ["beat-vm", "10.1.0.201", 8080]]
    assert (config["interval_ns"], config["most"]) == (250_000_000, 6)


@pytest.mark.parametrize("elsewhere", ["10.6.0.1", "192.0.2.9"])
def test_a_controller_that_would_pass_a_router_asks_from_the_nodes_that_are_spared(
    elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_address(monkeypatch, elsewhere)
    begin = vantage(cluster_of(NODES), [CT], ("node1",), 0.25, 60)
    assert [begin().place for _ in range(4)] == ["node2", "node3", "node2", "node3"]
    script = begin().line[1]
    assert "\nip netns exec rackproof-beats timeout -k 5 90 python3 -I -S -u -c " in script
    with pytest.raises(UnknownError, match="no node is spared"):
        vantage(cluster_of(NODES), [CT], tuple(NODES), 0.25, 60)


def test_a_controller_without_a_route_asks_from_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(towards: str) -> str:
        raise UnknownError(f"no route to {towards}")

    monkeypatch.setattr(heartbeats_vantage, "local_address", none)
    assert vantage(cluster_of(NODES), [CT], (), 0.25, 60)().place == "node1"


def test_each_node_has_an_address_of_its_own_that_no_guest_has() -> None:
    found = [free_address(SITE, name, "vlan1") for name in NODES]
    assert len({*found}) == 3 and all(each in SITE.networks["vlan1"].subnet for each in found)
    taken = CT.model_copy(update={"address": SITE.guests[0].address.__class__(f"{found[0]}/24")})
    other = free_address(SITE.model_copy(update={"guests": (taken,)}), "node1", "vlan1")
    assert other not in found and other != ip_address(found[0])


@pytest.fixture
def wired(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """A node's namespace with a guest bridge, and a guest on it."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    tag = uuid.uuid4().hex[:6]
    node, guest = f"rackproof-test-{tag}n", f"rackproof-test-{tag}g"
    monkeypatch.setattr(heartbeats_vantage, "SPACE", f"rackproof-test-{tag}b")
    script = f"""set -e
ip netns add {node}; ip netns add {guest}
ip -n {node} link add vmbr0 type bridge
ip -n {node} link set vmbr0 up
ip -n {node} link add guest type veth peer name eth0 netns {guest}
ip -n {node} link set guest master vmbr0 up
ip -n {guest} address add 10.1.0.201/24 dev eth0
ip -n {guest} link set eth0 up"""
    try:
        subprocess.run(["sh", "-c", script], check=True, timeout=20, capture_output=True)
        yield node, guest
    finally:
        for name in (node, guest, heartbeats_vantage.SPACE):
            subprocess.run(["ip", "netns", "delete", name], check=False, timeout=10, capture_output=True)


def spaces() -> set[str]:
    return {path.name for path in Path("/run/netns").iterdir()}


@pytest.mark.root
def test_a_nodes_port_hears_the_guest_and_goes_with_what_used_it(
    wired: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not every kernel that runs this has bridges that know VLANs: what `bridge` is asked is only noted."""
    node, guest = wired
    own_address(monkeypatch, "192.0.2.9")
    (tmp_path / "bridge").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/noted\n')
    (tmp_path / "bridge").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    class Inside(Told):
        def argv(self, command: str, **_: Any) -> list[str]:
            return ["ip", "netns", "exec", node, "bash", "-c", command.replace("python3", sys.executable, 1)]

    said: list[tuple[str, str]] = []
    news = threading.Event()

    def take(place: str, kind: str, text: str, told_ns: int, clock: Clock) -> None:
        said.append((place, text))
        if '"n":' in text:
            news.set()

    lost: list[str] = []
    service = ["ip", "netns", "exec", guest, sys.executable, "-c", SERVICE]
    with subprocess.Popen(service) as serving:
        stream = Stream(
            "vantage", vantage(cluster_of({"node1": Inside("node1")}), [CT], (), 0.1, 30), take, lost.append
        )
        try:
            stream.start()
            assert news.wait(15), f"the guest was not heard within 15 s: {said[-1:]} {lost}"
            assert heartbeats_vantage.SPACE in spaces()
        finally:
            stream.close()
            serving.kill()
    heard = next(json.loads(text) for _, text in said if '"n":' in text)
    assert heard["h"] == str(free_address(SITE, "node1", "vlan1"))
    noted = (tmp_path / "noted").read_text().splitlines()
    assert noted == ["vlan del dev rpb1 vid 1", "vlan add dev rpb1 vid 1 pvid untagged"]
    deadline = time.monotonic() + 10
    while heartbeats_vantage.SPACE in spaces():
        assert time.monotonic() < deadline, "the port's namespace was left for 10 s"
        time.sleep(0.05)


def test_what_a_killed_run_left_is_taken_away_first() -> None:
    lines = port_script(SITE, "node2", [CT], 60).splitlines()
    assert lines[:2] == ["ip netns del rackproof-beats 2>/dev/null", "ip link del rpb1 2>/dev/null"]
    assert lines[2] == "set -e"


def test_settings_are_one_line() -> None:
    assert "\n" not in settings([CT, VM], 0.25, 60)

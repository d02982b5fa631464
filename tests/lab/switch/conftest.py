"""A switch without a fabric: its state is a few Python objects, its SSH server is the real one."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netmiko
import pytest

from lab.standins.switch import server as switch_server
from lab.standins.switch.ports import (
    FRAME_OVERHEAD,
    PVID_NONE,
    Aggregation,
    Counters,
    MacEntry,
    Member,
    Neighbour,
    PortState,
)

PORT1, PORT2, PEER = "TwoHundredGigE1/0/1", "TwoHundredGigE1/0/2", "FourHundredGigE1/0/49"
PASSWORD = "correct-horse"
MINUTE_S = 0.5


class FakeFabric:
    """The `Fabric` protocol over a dictionary; what is set is what is read."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As delivered."""
        self.state: dict[str, PortState] = {}
        for number, (name, speed) in enumerate([(PORT1, 200_000), (PORT2, 200_000), (PEER, 400_000)], 1):
            self.state[name] = PortState(
                name=name,
                mac=f"52:54:00:aa:00:{number:02x}",
                admin_up=True,
                link_up=number != 2,
                speed_mbps=speed,
                trunk=True,
                pvid=PVID_NONE,
                permitted=frozenset(range(1, 7)),
                max_frame=9216 + FRAME_OVERHEAD,
                counters=Counters(10, 1000, 0, 20, 2000, 0),
            )
        self.lacp_fast = True
        self.acted: list[tuple[str, object]] = []

    def ports(self) -> Sequence[PortState]:
        return list(self.state.values())

    def aggregations(self) -> Sequence[Aggregation]:
        flags = 0x3F if self.lacp_fast else 0x3D
        healthy = Member(PORT1, True, flags, 0x3F, "52:54:00:01:00:00", 15, 1, 1, 2)
        alone = Member(PORT2, False, 0x47, 0, "", 0, 0)
        system = "02:0c:00:00:00:ff"
        return [Aggregation(1, True, system, (healthy,)), Aggregation(2, True, system, (alone,))]

    def macs(self) -> Sequence[MacEntry]:
        return [MacEntry("52:54:00:01:00:00", 6, PORT1)]

    def neighbours(self) -> Sequence[Neighbour]:
        return [Neighbour(PORT1, "5254-0001-0000", "5254-0001-0000", "node1", "eth0")]

    def vlans(self) -> Mapping[int, str]:
        return {number: f"VLAN {number:04d}" for number in range(1, 7)}

    def _set(self, port: str, **changes: object) -> None:
        self.state[port] = dataclasses.replace(self.state[port], **changes)  # type: ignore[arg-type]
        self.acted.append((port, changes))

    def set_admin(self, port: str, up: bool) -> None:
        self._set(port, admin_up=up)

    def set_trunk(self, port: str, permitted: frozenset[int], pvid: int) -> None:
        self._set(port, trunk=True, permitted=permitted, pvid=pvid)

    def set_access(self, port: str, vlan: int) -> None:
        self._set(port, trunk=False, permitted=frozenset({vlan}), pvid=vlan)

    def set_max_frame(self, port: str, length: int) -> None:
        self._set(port, max_frame=length)

    def set_description(self, port: str, text: str) -> None:
        self._set(port, description=text)

    def set_lacp_fast(self, port: str, fast: bool) -> None:
        self.lacp_fast = fast


@dataclass
class Running:
    """A switch that listens on loopback."""

    fabric: FakeFabric
    port: int

    @property
    def login(self) -> dict[str, object]:
        """How netmiko reaches it."""
        return {
            "device_type": "hp_comware",
            "host": "127.0.0.1",
            "port": self.port,
            "username": "rackproof",
            "password": PASSWORD,
            "fast_cli": True,
            "conn_timeout": 10,
        }


@pytest.fixture(scope="module")
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=5)


@pytest.fixture(scope="module")
def _host_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import asyncssh

    path = tmp_path_factory.mktemp("switch") / "key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(path))
    return path


@pytest.fixture(scope="module")
def _switch(_loop: asyncio.AbstractEventLoop, _host_key: Path) -> Iterator[Running]:
    fabric = FakeFabric()

    async def begin() -> Any:
        switch = switch_server.Switch("sw1", fabric, minute_s=MINUTE_S)
        return await switch_server.listen(switch, "127.0.0.1", 0, _host_key, "rackproof", PASSWORD)

    async def end() -> None:
        acceptor.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    acceptor = asyncio.run_coroutine_threadsafe(begin(), _loop).result(10)
    yield Running(fabric, acceptor.get_port())
    asyncio.run_coroutine_threadsafe(end(), _loop).result(10)


@pytest.fixture
def running(_switch: Running) -> Running:
    """A switch as delivered behind the real SSH server; a scheduler minute lasts MINUTE_S."""
    _switch.fabric.reset()
    return _switch


@pytest.fixture(scope="module")
def _connected(_switch: Running) -> Iterator[Any]:
    with netmiko.ConnectHandler(**_switch.login) as made:
        yield made


@pytest.fixture
def connection(_connected: Any, running: Running) -> Any:
    """One netmiko connection for all tests: opening one takes seconds."""
    return _connected

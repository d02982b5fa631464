"""The BMC's Redfish service on libvirt's test driver: no server, no network, but every route."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import libvirt
import pytest
from werkzeug.test import Client

from lab import bmc, physical, servers
from lab import rack as racks
from lab.paths import State
from lab.standins.bmc import __main__ as program
from lab.standins.bmc import machine

RACK = racks.load()
SERVER, OTHER = RACK.server[0], RACK.server[1]
SYSTEM = f"/redfish/v1/Systems/{SERVER.uuid}"
MANAGER = f"/redfish/v1/Managers/{SERVER.uuid}"
DOMAIN = """
<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>3072</memory><vcpu>1</vcpu>
<os><type arch='x86_64'>hvm</type><loader readonly='yes' type='pflash'>/code.fd</loader><boot dev='hd'/></os>
<devices><disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
<interface type='ethernet'><mac address='{mac}'/><target dev='x' managed='no'/></interface></devices></domain>
"""


class Bmc:
    """One BMC under test and the libvirt behind it."""

    def __init__(self, app: Any, state: State, connection: Any) -> None:
        self.state, self.connection = state, connection
        self.client = Client(app)
        self.basic = (RACK.oob.bmc_user, bmc.password(state, SERVER))

    def get(self, path: str) -> Any:
        answer = self.client.get(path, auth=self.basic)
        assert answer.status_code == 200, answer.text
        return answer.get_json(force=True)

    def xml(self) -> str:
        return str(self.connection.lookupByUUIDString(SERVER.uuid).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bmc]:
    """sushy-tools' application is one per process, so all tests share it."""
    state = State(tmp_path_factory.mktemp("bmc"))
    state.create()
    bmc.prepare(RACK, state)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "URI", "test:///default")
        connection = libvirt.open("test:///default")
        patch.setattr(servers, "connection", lambda: connection)
        for server in (SERVER, OTHER):
            connection.defineXML(DOMAIN.format(name=server.name, uuid=server.uuid, mac=server.p0))
        patch.setattr(program.Watch, "__init__", _quiet)
        yield Bmc(program.build(RACK, state, SERVER), state, connection)


def _quiet(self: Any, _uri: str, _uuid: str, log: Any, override: Any, kept: Path) -> None:
    """Without the thread that follows libvirt: its events are given by the tests."""
    self._log, self._override, self._kept = log, override, kept
    Watched.one = self


class Watched:
    one: Any = None


def test_the_last_reset_is_told_once_one_was_seen_and_outlives_the_bmc(one: Bmc) -> None:
    """A restarted BMC that told of its own start would tell of a reset that never was."""
    kept = Watched.one._kept
    kept.unlink(missing_ok=True)
    assert "LastResetTime" not in one.get(SYSTEM)
    domain = one.connection.lookupByUUIDString(SERVER.uuid)
    Watched.one._reboot(None, domain, None)
    told = one.get(SYSTEM)["LastResetTime"]
    assert abs(datetime.fromisoformat(told).timestamp() - time.time()) < 60
    kept.write_text("2026-01-01T00:00:00Z")  # of an earlier process
    assert one.get(SYSTEM)["LastResetTime"] == "2026-01-01T00:00:00Z"


def test_only_the_root_is_open(one: Bmc) -> None:
    assert one.client.get("/redfish/v1/").status_code == 200
    for path in ("/redfish/v1/Systems", SYSTEM, MANAGER, f"{SYSTEM}/LogServices/SEL/Entries"):
        assert one.client.get(path).status_code == 401
        assert one.client.get(path, auth=(one.basic[0], "wrong")).status_code == 401
        assert one.client.get(path, headers={"X-Auth-Token": "guessed"}).status_code == 401


def test_a_session_opens_and_closes(one: Bmc) -> None:
    links = one.client.get("/redfish/v1/").get_json(force=True)["Links"]["Sessions"]["@odata.id"]
    user, password = one.basic
    assert one.client.post(links, json={"UserName": user, "Password": "no"}).status_code == 401
    opened = one.client.post(links, json={"UserName": user, "Password": password})
    assert opened.status_code == 201
    token = {"X-Auth-Token": opened.headers["X-Auth-Token"]}
    assert one.client.get(SYSTEM, headers=token).status_code == 200
    assert one.client.get(opened.headers["Location"], headers=token).status_code == 200
    assert one.client.delete(opened.headers["Location"], headers=token).status_code == 204
    assert one.client.get(SYSTEM, headers=token).status_code == 401


def test_the_seventeenth_session_is_refused(one: Bmc) -> None:
    user, password = one.basic
    body = {"UserName": user, "Password": password}
    places = [one.client.post("/redfish/v1/SessionService/Sessions", json=body) for _ in range(17)]
    assert [place.status_code for place in places] == [201] * 16 + [503]
    for place in places[:16]:
        assert one.client.delete(place.headers["Location"], auth=one.basic).status_code == 204


def test_a_changed_password_holds_at_once(one: Bmc) -> None:
    bmc.set_password(RACK, one.state, SERVER, "changed")
    assert one.client.get(SYSTEM, auth=one.basic).status_code == 401
    assert one.client.get(SYSTEM, auth=(one.basic[0], "changed")).status_code == 200
    bmc.set_password(RACK, one.state, SERVER, one.basic[1])


def test_a_bmc_knows_its_own_server_only(one: Bmc) -> None:
    members = one.get("/redfish/v1/Systems")["Members"]
    assert members == [{"@odata.id": SYSTEM}]
    assert one.get("/redfish/v1/Managers")["Members"] == [{"@odata.id": MANAGER}]
    for path in (f"/redfish/v1/Systems/{OTHER.uuid}", f"/redfish/v1/Managers/{OTHER.uuid}"):
        assert one.client.get(path, auth=one.basic).status_code == 404


def test_the_nameplate(one: Bmc) -> None:
    system = one.get(SYSTEM)
    assert (system["SerialNumber"], system["Manufacturer"], system["Model"]) == (
        "RACK-0001",
        "Rackproof",
        "Virtual Server",
    )
    assert system["PowerState"] == "Off"
    assert system["MemorySummary"]["TotalSystemMemoryGiB"] == 3


def test_drives_are_those_in_the_bays(one: Bmc) -> None:
    def serials() -> list[str]:
        storage = one.get(one.get(f"{SYSTEM}/Storage")["Members"][0]["@odata.id"])
        return [one.get(drive["@odata.id"])["SerialNumber"] for drive in storage["Drives"]]

    assert serials() == ["BOOT11", "BOOT12", "DATA101", "DATA102"]
    with physical.change(one.state) as book:
        book.set_drive("node1", "BOOT12", False)
    assert serials() == ["BOOT11", "DATA101", "DATA102"]
    assert one.client.get(f"{SYSTEM}/Storage/NVMe/Drives/BOOT12", auth=one.basic).status_code == 404
    with physical.change(one.state) as book:
        book.set_drive("node1", "BOOT12", True)


def test_a_pulled_cable_shows(one: Bmc) -> None:
    port = f"{SYSTEM}/EthernetInterfaces/{SERVER.p0}"
    assert (one.get(port)["LinkStatus"], one.get(port)["SpeedMbps"]) == ("LinkUp", 200_000)
    with physical.change(one.state) as book:
        book.set_link("node1p0", "cable", False)
    assert one.get(port)["LinkStatus"] == "LinkDown"
    with physical.change(one.state) as book:
        book.set_link("node1p0", "cable", True)


def test_the_clock_is_the_machines_until_it_is_set(one: Bmc) -> None:
    from datetime import UTC, datetime

    shown = datetime.fromisoformat(one.get(MANAGER)["DateTime"])
    assert abs((datetime.now(UTC) - shown).total_seconds()) < 5
    wrong = {"DateTime": "2020-01-01T00:00:00Z", "DateTimeLocalOffset": "+00:00"}
    assert one.client.patch(MANAGER, json=wrong, auth=one.basic).status_code == 204
    assert one.get(MANAGER)["DateTime"] == "2020-01-01T00:00:00Z"


@pytest.mark.parametrize("owner", [SYSTEM, MANAGER])
def test_the_event_log_tells_what_happened(one: Bmc, owner: str) -> None:
    service = one.get(one.get(one.get(owner)["LogServices"]["@odata.id"])["Members"][0]["@odata.id"])
    clear = service["Actions"]["#LogService.ClearLog"]["target"]
    assert one.client.post(clear, json={}, auth=one.basic).status_code == 204
    domain = one.connection.lookupByUUIDString(SERVER.uuid)
    Watched.one._lifecycle(None, domain, libvirt.VIR_DOMAIN_EVENT_STARTED, 0, None)
    Watched.one._watchdog(None, domain, 0, None)
    Watched.one._lifecycle(
        None, domain, libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED, None
    )
    entries = one.get(service["Entries"]["@odata.id"])["Members"]
    assert [(entry["Message"], entry["Severity"]) for entry in entries] == [
        ("Event log cleared", "OK"),
        ("System powered on", "OK"),
        ("Watchdog expired: system reset", "Critical"),
        ("System power removed", "OK"),
    ]
    numbers = [int(entry["Id"]) for entry in entries]
    assert numbers == sorted(set(numbers))


def _override(one: Bmc, **boot: str) -> int:
    return int(one.client.patch(SYSTEM, json={"Boot": boot}, auth=one.basic).status_code)


def test_boot_once_is_over_after_one_boot(one: Bmc) -> None:
    assert (
        _override(
            one,
            BootSourceOverrideEnabled="Once",
            BootSourceOverrideTarget="Cd",
            BootSourceOverrideMode="UEFI",
        )
        == 204
    )
    boot = one.get(SYSTEM)["Boot"]
    assert (boot["BootSourceOverrideEnabled"], boot["BootSourceOverrideTarget"]) == ("Once", "Cd")
    assert "<boot order='1'/>" in one.xml()
    assert "/code.fd" in one.xml(), "the firmware stays what it was"
    domain = one.connection.lookupByUUIDString(SERVER.uuid)
    Watched.one._lifecycle(None, domain, libvirt.VIR_DOMAIN_EVENT_STARTED, 0, None)
    assert one.get(SYSTEM)["Boot"]["BootSourceOverrideEnabled"] == "Disabled"
    assert "<boot order='1'/>" not in one.xml()


def test_a_continuous_override_stays_until_disabled(one: Bmc) -> None:
    assert _override(one, BootSourceOverrideEnabled="Continuous", BootSourceOverrideTarget="Cd") == 204
    domain = one.connection.lookupByUUIDString(SERVER.uuid)
    Watched.one._reboot(None, domain, None)
    assert one.get(SYSTEM)["Boot"]["BootSourceOverrideEnabled"] == "Continuous"
    assert "<boot order='1'/>" in one.xml()
    assert _override(one, BootSourceOverrideEnabled="Disabled") == 204
    assert one.get(SYSTEM)["Boot"]["BootSourceOverrideTarget"] == "None"
    assert "<boot order='1'/>" not in one.xml()


@pytest.mark.parametrize(
    "boot",
    [
        {"BootSourceOverrideEnabled": "Forever", "BootSourceOverrideTarget": "Cd"},
        {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"},
        {
            "BootSourceOverrideEnabled": "Once",
            "BootSourceOverrideTarget": "Cd",
            "BootSourceOverrideMode": "Legacy",
        },
    ],
)
def test_what_hardware_refuses_is_refused(one: Bmc, boot: dict[str, str]) -> None:
    assert _override(one, **boot) == 400


def test_an_unknown_reset_is_refused(one: Bmc) -> None:
    target = one.get(SYSTEM)["Actions"]["#ComputerSystem.Reset"]["target"]
    assert one.client.post(target, json={"ResetType": "Explode"}, auth=one.basic).status_code == 400


def test_an_inserted_medium_is_in_the_drive(
    one: Bmc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libvirt's test driver cannot change media, so its call is recorded."""
    image = tmp_path / "installer.iso"
    image.write_bytes(b"image")
    changes: list[str] = []
    handle = one.connection.lookupByUUIDString(SERVER.uuid)
    monkeypatch.setattr(type(handle), "updateDeviceFlags", lambda _self, xml, _flags: changes.append(xml))
    driver = machine.Machine()
    driver.set_boot_image(SERVER.uuid, "Cd", str(image))
    assert f'file="{one.state.bmc}/node1/images/{SERVER.uuid}.iso"' in changes[-1]
    driver.set_boot_image(SERVER.uuid, "Cd", None)
    assert "<source" not in changes[-1]
    assert list((one.state.bmc / "node1" / "images").iterdir()) == []

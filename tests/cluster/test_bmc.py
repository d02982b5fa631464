"""A BMC over verified TLS on loopback, with the habits of several makers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster import redfish_client
from cluster.bmc import Bmc, Drive, LogEntry, Nic
from cluster.errors import DeadlineError, RackproofError, UnreachableError
from cluster.redfish_client import CredentialsError, RedfishError
from tests.cluster.fakes import certificates
from tests.cluster.fakes.redfish_server import PASSWORD, USER, V1, FakeBmc, Habits


class Stored:
    """Stands for Secrets."""

    def __init__(self, password: str = PASSWORD) -> None:
        self.password = password

    def resolve(self, reference: str, **fields: str) -> str:
        return {
            "ssm:/pve1/nodes/{node}/ipmi_user": USER,
            "ssm:/pve1/nodes/{node}/ipmi_password": self.password,
        }[reference]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificates.make(tmp_path_factory.mktemp("tls"))


Opened = tuple[FakeBmc, Bmc]


@pytest.fixture
def connect(certificate: tuple[Path, Path]) -> Iterator[Callable[..., Opened]]:
    with ExitStack() as stack:

        def make(
            *,
            password: str = PASSWORD,
            ca_file: Path | None = certificate[0],
            observer: Any = None,
            **habits: Any,
        ) -> Opened:
            fake = stack.enter_context(FakeBmc(*certificate, Habits(**habits)))
            bmc = Bmc(spec(fake.port, ca_file), Stored(password), observer)  # type: ignore[arg-type]
            stack.callback(bmc.close)
            return fake, bmc

        yield make


def spec(port: int, ca_file: Path | None) -> Any:
    table = SimpleNamespace(
        address=IPv4Address("127.0.0.1"),
        port=port,
        ca_file=ca_file,
        user="ssm:/pve1/nodes/{node}/ipmi_user",
        password="ssm:/pve1/nodes/{node}/ipmi_password",
    )
    return SimpleNamespace(name="node1", serial="S1", bmc=table)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.bmc._POLL_S", 0.05)


def test_the_inventory_is_what_the_bmc_tells_and_no_more(connect: Callable[..., Opened]) -> None:
    _, bmc = connect()
    found = bmc.inventory()
    assert (found.manufacturer, found.serial, found.sku, found.health) == (
        "Supermicro",
        "S1",
        None,
        "Warning",
    )
    assert (found.cpu_count, found.memory_gib, found.firmware_version) == (1, 768, "01.02.03")
    assert found.drives == (Drive("BOOT11", "PM9A3", 960_197_124_096), Drive("DATA101", "CM7", None))
    assert found.nics == (Nic("52:54:00:01:00:00", "LinkUp"), Nic("52:54:00:aa:00:01", None))


def test_what_is_not_told_is_unknown_and_not_zero(connect: Callable[..., Opened]) -> None:
    fake, bmc = connect()
    system = fake.tree[f"{V1}/Systems/1"]
    for key in (
        "ProcessorSummary",
        "MemorySummary",
        "Storage",
        "EthernetInterfaces",
        "Status",
        "SerialNumber",
    ):
        system.pop(key)
    system["Links"].pop("Chassis")
    found = bmc.inventory()
    assert (found.cpu_count, found.memory_gib, found.health, found.serial) == (None, None, None, None)
    assert (found.drives, found.nics) == ((), ())


@pytest.mark.parametrize("habits", [{}, {"sessions": False}, {"session_errors": True}])
def test_login_by_session_or_basic_and_no_session_is_left(
    connect: Callable[..., Opened], habits: dict[str, bool]
) -> None:
    fake, bmc = connect(**habits)
    assert bmc.power_state() == "Off"
    assert len(fake.tokens) == (0 if habits else 1)
    bmc.close()
    assert fake.tokens == {}


def test_an_expired_session_is_opened_again(connect: Callable[..., Opened]) -> None:
    fake, bmc = connect()
    bmc.power_state()
    fake.tokens.clear()
    assert bmc.power_state() == "Off"
    assert fake.opened == 2


@pytest.mark.parametrize("sessions", [True, False])
def test_a_wrong_password_names_the_parameters_and_not_the_values(
    connect: Callable[..., Opened], sessions: bool
) -> None:
    fake, bmc = connect(password="not-the-password", sessions=sessions)
    with pytest.raises(CredentialsError) as told:
        bmc.power_state()
    assert "the BMC of node1 (127.0.0.1:" in str(told.value)
    assert "ssm:/pve1/nodes/node1/ipmi_user and ssm:/pve1/nodes/node1/ipmi_password" in str(told.value)
    assert "not-the-password" not in str(told.value)
    attempts = [p for m, p, _ in fake.log if p.endswith("Sessions")]
    assert len(attempts) == 1, "a second try may lock the account"


def test_an_untrusted_certificate_is_refused(connect: Callable[..., Opened], tmp_path: Path) -> None:
    fake, bmc = connect(ca_file=certificates.make(tmp_path)[0])
    with pytest.raises(UnreachableError, match=r"its certificate was not verified by .*certificate.pem"):
        bmc.power_state()
    assert fake.log == []


def test_a_bmc_that_cannot_be_verified_is_not_spoken_to(
    connect: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake, bmc = connect(ca_file=None)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    with pytest.raises(RackproofError, match=r"node1 .* cannot be verified, the site gives no bmc.ca_file"):
        bmc.power_state()
    assert fake.log == []
    fake, bmc = connect(ca_file=tmp_path / "missing.pem")
    with pytest.raises(RackproofError, match=r"bmc.ca_file = .*missing.pem of node1: there is no such file"):
        bmc.power_state()


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("2026-11-22T05:00:10Z", 1795323610.0),
        ("2026-11-22T06:00:10+01:00", 1795323610.0),
        (None, None),
        ("", None),
        ("yesterday", None),
    ],
)
def test_when_it_was_last_reset(
    connect: Callable[..., Opened], told: str | None, seconds: float | None
) -> None:
    fake, bmc = connect()
    fake.tree[f"{V1}/Systems/1"]["LastResetTime"] = told
    assert bmc.power_and_reset() == ("Off", seconds)


def test_a_silent_bmc_is_unreachable(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redfish_client.time, "sleep", lambda _: None)
    bmc = Bmc(spec(1, certificate[0]), Stored())  # type: ignore[arg-type]
    with pytest.raises(
        UnreachableError, match=r"the BMC of node1 \(127.0.0.1:1\) did not answer GET .* within 15 s"
    ):
        bmc.power_state()


def test_a_busy_bmc_is_asked_again(connect: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(redfish_client.time, "sleep", waited.append)
    _, bmc = connect(busy=2)
    assert bmc.power_state() == "Off"
    assert waited == [1, 1]


def test_power_is_sent_once_and_only_where_it_changes_something(connect: Callable[..., Opened]) -> None:
    fake, bmc = connect()
    bmc.power("ForceOff")
    assert fake.sent("POST") == []
    bmc.power("On")
    bmc.power("On")
    assert fake.sent("POST") == [(f"{V1}/Systems/1/Actions/ComputerSystem.Reset", {"ResetType": "On"})]


@pytest.mark.parametrize("action_info", [True, False])
def test_the_resets_that_it_offers(connect: Callable[..., Opened], action_info: bool) -> None:
    fake, bmc = connect(action_info=action_info)
    assert {"On", "ForceOff"} <= set(bmc.resets())
    assert fake.sent("POST") == []


@pytest.mark.parametrize(("told", "tries"), [({"AccountLockoutThreshold": 3}, 3), ({}, 0), (None, 0)])
def test_after_how_many_wrong_passwords_it_locks_an_account(
    connect: Callable[..., Opened], told: dict[str, int] | None, tries: int
) -> None:
    fake, bmc = connect()
    assert bmc.lockout() == 0, "it names no service of accounts"
    fake.tree[V1]["AccountService"] = {"@odata.id": f"{V1}/AccountService"}
    if told is not None:
        fake.tree[f"{V1}/AccountService"] = told
    assert bmc.lockout() == tries


def test_a_race_to_the_same_end_is_no_error(
    connect: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, bmc = connect()
    system = bmc._system()
    fake.tree[f"{V1}/Systems/1"]["PowerState"] = "On"  # somebody else was quicker
    seen = iter([system])
    original = bmc._system
    monkeypatch.setattr(bmc, "_system", lambda: next(seen, None) or original())
    bmc.power("On")
    assert len(fake.sent("POST")) == 1


@pytest.mark.parametrize("action_info", [True, False])
def test_a_reset_that_is_not_offered_is_refused_with_the_choice(
    connect: Callable[..., Opened], action_info: bool
) -> None:
    fake, bmc = connect(action_info=action_info)
    with pytest.raises(RedfishError, match="does not offer the reset PowerCycle: it offers On, ForceOff"):
        bmc.power("PowerCycle")
    assert fake.sent("POST") == []


def test_a_missing_licence_is_told(connect: Callable[..., Opened]) -> None:
    _, bmc = connect(license=False)
    with pytest.raises(RedfishError, match=r"HTTP 403: Not licensed: .*Try another.*PF-BMC-LIC") as told:
        bmc.power("Nmi")
    assert told.value.status == 403


def test_waiting_for_power_ends_when_it_is_so_or_at_the_deadline(connect: Callable[..., Opened]) -> None:
    _, bmc = connect(power_s=0.3)
    bmc.power("On")
    assert 0.2 < bmc.wait_power("On", 10) < 5
    with pytest.raises(DeadlineError, match=r"node1 .* was to be Off within 0.2 s, but after 0 s it is: On"):
        bmc.wait_power("Off", 0.2)


@pytest.mark.parametrize("etag", ["", "strong", "weak-refused"])
def test_boot_once_with_every_kind_of_etag(connect: Callable[..., Opened], etag: str) -> None:
    fake, bmc = connect(etag=etag)
    assert bmc.boot_once("Cd") == "Once"
    boot = fake.tree[f"{V1}/Systems/1"]["Boot"]
    assert (boot["BootSourceOverrideTarget"], boot["BootSourceOverrideMode"]) == ("Cd", "UEFI")


def test_boot_once_tells_what_cannot_be(connect: Callable[..., Opened]) -> None:
    fake, bmc = connect()
    with pytest.raises(RedfishError, match="cannot boot from Floppy: it offers None, Pxe, Cd, Hdd"):
        bmc.boot_once("Floppy")
    assert fake.sent("PATCH") == []


@pytest.mark.parametrize("owner", ["Managers", "Systems"])
@pytest.mark.parametrize("tasks", ["", "ok"])
def test_media_under_either_owner_and_only_the_image_is_sent(
    connect: Callable[..., Opened], owner: str, tasks: str
) -> None:
    fake, bmc = connect(media_owner=owner, media_extra_keys=False, tasks=tasks)
    assert bmc.media_image() is None
    bmc.insert_media("http://10.9.0.1:1/x/node1.iso")
    bmc.insert_media("http://10.9.0.1:1/x/node1.iso")
    assert bmc.media_image() == "http://10.9.0.1:1/x/node1.iso"
    bmc.insert_media("http://10.9.0.1:1/y/node1.iso")
    bmc.eject_media()
    bmc.eject_media()
    assert bmc.media_image() is None
    actions = [path.rsplit(".", 1)[1] for path, _ in fake.sent("POST")]
    assert actions == ["InsertMedia", "EjectMedia", "InsertMedia", "EjectMedia"]


def test_a_board_that_keeps_the_images_name_is_empty(connect: Callable[..., Opened]) -> None:
    _, bmc = connect(stuck_media=True)
    bmc.insert_media("http://10.9.0.1/x")
    bmc.eject_media()
    assert bmc.media_image() is None


def test_a_task_that_fails_is_told_in_its_own_words(connect: Callable[..., Opened]) -> None:
    _, bmc = connect(tasks="fails")
    with pytest.raises(RedfishError, match="ended as Exception: the image could not be read"):
        bmc.insert_media("http://10.9.0.1/x")


def test_no_virtual_cd_is_told(connect: Callable[..., Opened]) -> None:
    fake, bmc = connect()
    fake.tree[f"{V1}/Managers/1"].pop("VirtualMedia")
    with pytest.raises(RedfishError, match="offers no virtual CD"):
        bmc.insert_media("http://10.9.0.1/x")


@pytest.mark.parametrize("clock_s", [0, 300, -7200])
def test_the_clocks_offset(connect: Callable[..., Opened], clock_s: float) -> None:
    _, bmc = connect(clock_s=clock_s)
    offset = bmc.clock_offset()
    assert offset is not None
    assert abs(offset - clock_s) <= 1.0


def test_the_log_or_that_there_is_none(connect: Callable[..., Opened]) -> None:
    fake, bmc = connect()
    assert bmc.log_entries() == (LogEntry("2026-01-01T00:00:00Z", "OK", "Cleared"),)
    fake.tree[f"{V1}/Managers/1"].pop("LogServices")
    assert bmc.log_entries() is None


def test_of_several_systems_the_ordered_one(connect: Callable[..., Opened]) -> None:
    fake, bmc = connect()
    other = {"@odata.id": f"{V1}/Systems/0", "SerialNumber": "S0", "PowerState": "On"}
    fake.tree[f"{V1}/Systems/0"] = other
    fake.tree[f"{V1}/Systems"]["Members"].insert(0, {"@odata.id": f"{V1}/Systems/0"})
    assert bmc.power_state() == "Off"
    fake.tree[f"{V1}/Systems/1"]["SerialNumber"] = "S2"
    fake, bmc = connect()
    fake.tree[f"{V1}/Systems"]["Members"] = []
    with pytest.raises(RedfishError, match="shows 0 systems that may be node1"):
        bmc.power_state()


def test_the_transcript_holds_no_password(connect: Callable[..., Opened]) -> None:
    told: list[Any] = []
    _, bmc = connect(observer=lambda *what: told.append(what))
    bmc.power("On")
    bmc.close()
    assert any("ComputerSystem.Reset" in command for _, command, _, _ in told)
    assert PASSWORD not in repr(told)
    assert "token-" not in repr(told)

"""The catalogue: complete, honest about who must catch what, and careful with what it breaks."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from lab import bmc, defects, rack
from lab.defects import fabric, parameters, servers
from lab.defects.defect import Defect, Place
from lab.errors import LabError
from lab.paths import State

REPOSITORY = Path(__file__).resolve().parents[3]
REQUIRED = {
    "link-down", "switch-down", "silent-link", "boot-leg-missing", "data-on-blank-disk", "missing-disk",
    "wrong-vlan", "vid-dropped", "untagged-leak", "wrong-mtu", "duplicate-address", "password-ssh-dropin",
    "no-time-sync", "wrong-hostname", "unreadable-parameter", "plain-secret", "bmc-wrong-password",
    "bmc-swapped",
    "mtu-mismatch", "ring-1-down", "wrong-ring-address", "clock-skew", "missing-vote", "stale-node-entry",
    "pool-size-2", "min-size-1", "wrong-ratio", "no-application", "osd-down", "osd-out", "osd-on-wrong-class",
    "mon-down", "insecure-reclaim", "cephx-off", "pg-inconsistent", "noout-left-set", "nearfull",
    "stale-storage-entry",
    "bmc-clock-wrong", "wrong-medium-checksum", "missing-parameter", "slow-lacp", "wrong-resolver",
}  # fmt: skip


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "rack")
    made.create()
    return made


def scenarios_of_features() -> set[str]:
    """`feature::scenario` of every scenario, outlines filled in."""
    found = set()
    for file in (REPOSITORY / "features").rglob("*.feature"):
        text = file.read_text(encoding="utf-8")
        feature = re.search(r"^Feature: (.+)$", text, re.MULTILINE)
        assert feature, file
        for block in re.split(r"^\s*Scenario(?: Outline)?: ", text, flags=re.MULTILINE)[1:]:
            title = block.splitlines()[0].strip()
            rows = [
                [cell.strip() for cell in line.strip().strip("|").split("|")]
                for line in block.partition("Examples:")[2].splitlines()
                if line.strip().startswith("|")
            ]
            for row in rows[1:] or [[]]:
                filled = title
                for name, value in zip(rows[0] if rows else [], row, strict=False):
                    filled = filled.replace(f"<{name}>", value)
                found.add(f"{feature[1].strip()}::{filled}")
    return found


def test_the_catalogue_is_complete() -> None:
    assert set(defects.CATALOGUE) >= REQUIRED
    assert all(entry.what and entry.caught_by for entry in defects.CATALOGUE.values())
    for name in REQUIRED:
        assert name in defects.catalogue()


def test_every_named_scenario_exists() -> None:
    known = scenarios_of_features()
    named = set(itertools.chain.from_iterable(entry.caught_by for entry in defects.CATALOGUE.values()))
    assert named - known == set()


# --- the book of what is broken -----------------------------------------------------------------------------


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A catalogue of one defect that writes down what is done to it."""
    done: list[str] = []

    def break_it(place: Place) -> dict[str, Any]:
        done.append(f"broke {place.target}")
        return {"was": "whole"}

    def mend_it(place: Place, memory: dict[str, Any]) -> None:
        done.append(f"mended {place.target} {memory}")

    entry = Defect("test", "a test", ("f::s",), break_it, mend_it, "node", "node2")
    monkeypatch.setattr(defects, "CATALOGUE", {"test": entry})
    return done


def test_break_and_mend(state: State, log: list[str]) -> None:
    assert "at node2" in defects.apply("test", state=state)
    assert defects.broken(state) == [("test", "node2")]
    with pytest.raises(LabError, match="broken already"):
        defects.apply("test", state=state)
    defects.apply("test", "node1", state=state)
    defects.undo("test", state=state)
    assert "is not broken" in defects.undo("test", state=state)
    defects.undo("test", "node1", state=state)
    assert log == [
        "broke node2",
        "broke node1",
        "mended node2 {'was': 'whole'}",
        "mended node1 {'was': 'whole'}",
    ]
    assert defects.broken(state) == []


def test_a_break_that_fails_leaves_no_entry(
    state: State, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(place: Place) -> dict[str, Any]:
        raise LabError("cannot")

    entry = dataclasses.replace(defects.CATALOGUE["test"], apply=fail)
    monkeypatch.setattr(defects, "CATALOGUE", {"test": entry})
    with pytest.raises(LabError, match="cannot"):
        defects.apply("test", state=state)
    assert defects.broken(state) == []


def test_a_break_that_was_killed_can_be_mended(
    state: State, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(place: Place) -> dict[str, Any]:
        raise KeyboardInterrupt

    entry = dataclasses.replace(defects.CATALOGUE["test"], apply=killed)
    monkeypatch.setattr(defects, "CATALOGUE", {"test": entry})
    with pytest.raises(KeyboardInterrupt):
        defects.apply("test", state=state)
    assert defects.broken(state) == [("test", "node2")]
    defects.undo("test", state=state)
    assert log == ["mended node2 {}"]


@pytest.mark.parametrize(
    ("name", "target", "said"),
    [
        ("nonsense", None, "no defect 'nonsense' in the catalogue"),
        ("test", "node9", "target 'node9': expected one of node1, node2, node3"),
    ],
)
def test_mistakes_of_users(state: State, log: list[str], name: str, target: str | None, said: str) -> None:
    with pytest.raises(LabError, match=said):
        defects.apply(name, target, state=state)


def test_a_defect_without_place_takes_no_target(state: State) -> None:
    with pytest.raises(LabError, match="it takes no target"):
        defects.apply("plain-secret", "node1", state=state)


# --- defects that need no rack ------------------------------------------------------------------------------


def test_medium_checksum_is_changed_and_put_back(state: State) -> None:
    file = state.root / f"{rack.load().medium.path}.sha256"
    for text in ("0abc  rack-installer.iso\n", "fabc  rack-installer.iso\n"):
        file.write_text(text, encoding="ascii")
        defects.apply("wrong-medium-checksum", state=state)
        assert file.read_text(encoding="ascii") != text
        assert len(file.read_text(encoding="ascii")) == len(text)
        defects.undo("wrong-medium-checksum", state=state)
        assert file.read_text(encoding="ascii") == text


def test_bmc_password_changes_in_the_bmc_only(state: State) -> None:
    hardware = rack.load()
    server = hardware.find("node2")
    before = bmc.password(state, server)
    bmc.set_password(hardware, state, server, before)
    accounts = bmc.accounts_file(state, server)
    whole = accounts.read_text(encoding="ascii")
    defects.apply("bmc-wrong-password", state=state)
    assert accounts.read_text(encoding="ascii") != whole
    assert accounts.read_text(encoding="ascii").startswith(f"{hardware.oob.bmc_user}:$2b$")
    assert accounts.stat().st_mode & 0o777 == 0o600
    assert bmc.password(state, server) == before
    defects.undo("bmc-wrong-password", state=state)
    assert accounts.read_text(encoding="ascii") == whole


class FakeParameters:
    """As much of SSM as the defects use."""

    class exceptions:  # noqa: N801 (boto3's name)
        class ParameterNotFound(Exception):  # noqa: N818
            pass

    def __init__(self) -> None:
        self.held: dict[str, tuple[str, str, str]] = {
            parameters.PLAIN: ("SecureString", "p", "alias/pve1"),
            parameters.UNREADABLE: ("SecureString", "u", "alias/pve1"),
            parameters.MISSING: ("String", "10.6.0.12", ""),
        }

    def get_parameter(self, Name: str, WithDecryption: bool) -> Any:  # noqa: N803
        kind, value, _ = self.held[Name]
        return {"Parameter": {"Name": Name, "Type": kind, "Value": value}}

    def put_parameter(self, Name: str, Type: str, Value: str, KeyId: str = "") -> None:  # noqa: N803
        assert Name not in self.held
        self.held[Name] = (Type, Value, KeyId)

    def delete_parameter(self, Name: str) -> None:  # noqa: N803
        if Name not in self.held:
            raise self.exceptions.ParameterNotFound
        del self.held[Name]


@pytest.mark.parametrize(
    ("name", "parameter", "broken"),
    [
        ("plain-secret", parameters.PLAIN, ("String", "p", "")),
        ("unreadable-parameter", parameters.UNREADABLE, ("SecureString", "u", "alias/aws/ssm")),
        ("missing-parameter", parameters.MISSING, None),
    ],
)
def test_parameters(
    state: State,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    parameter: str,
    broken: tuple[str, str, str] | None,
) -> None:
    store = FakeParameters()
    whole = dict(store.held)
    monkeypatch.setattr(parameters.aws, "root_client", lambda *_: store)
    defects.apply(name, state=state)
    assert store.held.get(parameter) == broken
    kept = state.defects / f"{name}.json"
    assert kept.stat().st_mode & 0o777 == 0o600  # it may hold a secret
    assert json.loads(kept.read_text(encoding="utf-8"))["name"] == parameter
    defects.undo(name, state=state)
    assert store.held == whole


@pytest.mark.parametrize("name", ["wrong-vlan", "vid-dropped", "untagged-leak"])
def test_trunks_come_back_as_they_were(state: State, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from lab.standins.switch.ports import PortState

    def whole(port: str) -> PortState:
        return PortState(port, "", True, True, 200_000, True, 4094, frozenset(range(1, 7)), 9238)

    hardware = rack.load()
    held = {port: whole(port) for port in hardware.switch[1].ports.values()}

    class Fabric:
        def ports(self) -> list[PortState]:
            return list(held.values())

        def set_trunk(self, port: str, permitted: frozenset[int], pvid: int) -> None:
            held[port] = dataclasses.replace(held[port], permitted=permitted, pvid=pvid)

    monkeypatch.setattr(fabric, "_fabric", lambda *_: Fabric())
    before = dict(held)
    defects.apply(name, state=state)
    changed = [port for port in held if held[port] != before[port]]
    assert changed == [hardware.switch[1].ports[defects.CATALOGUE[name].default]]
    defects.undo(name, state=state)
    assert held == before


def test_slow_lacp_says_when_it_cannot_be(state: State) -> None:
    with pytest.raises(LabError, match="switch_mode = 'lacp'"):
        defects.apply("slow-lacp", state=state)


def test_drives_of_defects(state: State) -> None:
    hardware = rack.load()
    place = Place(hardware, state, "node3")
    assert servers._second_boot(place) == "BOOT32"
    assert [drive.serial for drive in servers._data(place)] == ["DATA301", "DATA302"]
    none = dataclasses.replace(hardware, servers=dataclasses.replace(hardware.servers, data_disks=0))
    with pytest.raises(LabError, match="no data drive"):
        servers._data(Place(none, state, "node3"))

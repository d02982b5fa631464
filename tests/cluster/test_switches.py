"""A switch over SSH on loopback: ports go down and up, timers are armed before, nothing is ever saved."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest

from cluster import switches as module
from cluster.errors import DeadlineError, UnreachableError
from cluster.switches import ComwareSwitch, SwitchError
from tests.cluster.fakes.comware import PASSWORD, USER, FakeSwitch

FIRST = "TwoHundredGigE1/0/1"


class Stored:
    """Stands for Secrets."""

    def __init__(self, fake: FakeSwitch) -> None:
        self.values = {"ssm:/u": USER, "ssm:/p": PASSWORD, "ssm:/k": fake.public_host_key}

    def resolve(self, reference: str) -> str:
        return self.values[reference]


def connected(fake: FakeSwitch, stored: Stored | None = None, observer: Any = None) -> ComwareSwitch:
    table: Any = SimpleNamespace(
        name="sw1", address=IPv4Address("127.0.0.1"), user="ssm:/u", password="ssm:/p", host_key="ssm:/k"
    )
    return ComwareSwitch(table, stored or Stored(fake), observer, port=fake.port)  # type: ignore[arg-type]


@pytest.fixture
def fake() -> Iterator[FakeSwitch]:
    with FakeSwitch() as made:
        yield made


@pytest.fixture
def switch(fake: FakeSwitch) -> Iterator[ComwareSwitch]:
    made = connected(fake)
    yield made
    made.close()


def test_ports_and_neighbours_over_one_session(fake: FakeSwitch, switch: ComwareSwitch) -> None:
    ports = switch.ports()
    assert list(ports) == [FIRST, "TwoHundredGigE1/0/2"]
    assert ports[FIRST].tagged_vlans == {1, 2, 3, 4, 5, 6}
    assert switch.neighbours()[FIRST].system == "sw1", "the switch's own name in an output does not end it"
    assert switch.lags() == {}
    assert fake.sessions == 1


def test_a_port_goes_down_and_up_and_nothing_is_saved(fake: FakeSwitch, switch: ComwareSwitch) -> None:
    switch.shutdown(FIRST)
    assert fake.down == {FIRST}
    assert switch.ports()[FIRST].admin_up is False
    switch.shutdown(FIRST)
    switch.undo_shutdown(FIRST)
    assert fake.down == set()
    assert not [c for c in fake.commands if c.startswith("save")]
    assert switch._session.base_prompt == "sw1"


def test_a_port_that_does_not_obey_is_told(
    switch: ComwareSwitch, fake: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "VERIFY_S", 0.3)
    fake.stubborn = True
    with pytest.raises(DeadlineError, match=rf"switch sw1 .*: port {FIRST} was not shut down within 0.3 s"):
        switch.shutdown(FIRST)


def test_a_refused_command_is_told_and_ends_the_rest(switch: ComwareSwitch, fake: FakeSwitch) -> None:
    with pytest.raises(
        SwitchError, match=r"refused `interface TwoHundredGigE1/0/9; shutdown`: % Wrong parameter"
    ):
        switch.shutdown("TwoHundredGigE1/0/9")
    assert "shutdown" not in fake.commands
    assert switch.ports(), "the session is back in the user view"


@pytest.mark.parametrize(
    "port", ["", "1/0/1", "TwoHundredGigE1/0/1\nsave force", "range TwoHundredGigE1/0/1"]
)
def test_only_a_port_name_is_sent(switch: ComwareSwitch, fake: FakeSwitch, port: str) -> None:
    with pytest.raises(SwitchError, match="names no port: expected a full name such as"):
        switch.shutdown(port)
    assert fake.sessions == 0


def test_the_timer_is_armed_read_back_and_disarmed(switch: ComwareSwitch, fake: FakeSwitch) -> None:
    job = switch.arm_undo(FIRST, 61)
    assert fake.jobs == {job: ["system-view", f"interface {FIRST}", "undo shutdown"]}
    assert "time once delay 00:02\n" in fake.schedules[job]
    assert f"job {job}\n" in fake.schedules[job]
    assert switch.armed() == [job]
    switch.disarm(job)
    switch.disarm(job)
    assert (fake.jobs, fake.schedules, switch.armed()) == ({}, {}, [])
    with pytest.raises(SwitchError, match="is no timer of ours"):
        switch.disarm("backup")


def test_a_switch_without_a_scheduler_is_told_before_anything_breaks(
    fake: FakeSwitch, switch: ComwareSwitch
) -> None:
    fake.scheduler = False
    with pytest.raises(SwitchError, match=r"refused `scheduler job rackproof-.*% Unrecognized"):
        switch.arm_undo(FIRST, 60)
    assert FIRST not in fake.down


def test_a_timer_that_is_not_there_is_not_relied_upon(
    fake: FakeSwitch, switch: ComwareSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "_display", lambda what: "")
    with pytest.raises(SwitchError, match=f"did not take the timer that is to enable {FIRST} again"):
        switch.arm_undo(FIRST, 60)


def test_a_lost_session_is_opened_again(fake: FakeSwitch, switch: ComwareSwitch) -> None:
    switch.ports()
    fake.cut()
    time.sleep(0.3)  # until the client knows
    assert FIRST in switch.ports()
    assert fake.sessions == 2


def test_another_host_key_is_not_spoken_to(fake: FakeSwitch) -> None:
    stored = Stored(fake)
    stored.values["ssm:/k"] = FakeSwitch().public_host_key
    with pytest.raises(UnreachableError, match="its SSH host key is not the one in parameter /k"):
        connected(fake, stored).ports()
    assert fake.commands == []


def test_a_wrong_password_names_the_parameters_and_not_the_value(fake: FakeSwitch) -> None:
    stored = Stored(fake)
    stored.values["ssm:/p"] = "not the password"
    with pytest.raises(
        UnreachableError, match="does not accept the user and password stored at ssm:/u and ssm:/p"
    ) as told:
        connected(fake, stored).ports()
    assert "not the password" not in str(told.value)


def test_a_switch_that_is_down_is_unreachable() -> None:
    with FakeSwitch() as fake:
        stored = Stored(fake)
    with pytest.raises(
        UnreachableError, match=r"switch sw1 \(127.0.0.1:\d+\) did not answer by SSH within 10 s"
    ):
        connected(fake, stored).ports()


def test_the_transcript_holds_no_password(fake: FakeSwitch) -> None:
    told: list[Any] = []
    switch = connected(fake, observer=lambda *what: told.append(what))
    switch.shutdown(FIRST)
    switch.close()
    assert told[0][:2] == ("sw1", f"interface {FIRST}; shutdown")
    assert PASSWORD not in repr(told)

"""The engine on a fault that misbehaves in every way: it heals, it is loud, and it leaves nothing behind
unsaid.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from chaos import engine as engine_module
from chaos import fault as fault_module
from chaos.engine import HARNESS, SWITCH, Engine, HealError, begin_patiently
from chaos.fault import Fault
from chaos.guard import Guard
from chaos.journal import Journal, State, recover
from chaos.signals import Terminated
from cluster.errors import RefusedError, UnknownError
from tests.chaos.breakable import KNOWN, Alone, Breakable, Folder, Isolating, UnhealableError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(Fault, "inject_s", 0.05)
    monkeypatch.setattr(Fault, "heal_s", 0.05)
    return Folder(tmp_path)


def engine(folder: Folder, *, passing: bool = True) -> Engine:
    """`passing`: time passes for the switch while the engine waits."""
    guard = Guard(checks=(), settle_s=0, sleep=lambda _: None)
    sleep = folder.sleep if passing else (lambda _: time.sleep(0.01))
    return Engine(folder, guard, Journal(folder.journal), sleep=sleep)


def broken(folder: Folder) -> bool:
    return (folder.folder / "broken").exists()


def test_a_drill_from_begin_to_end(folder: Folder) -> None:
    with engine(folder).fault(Breakable(folder=str(folder.folder))) as window:
        assert broken(folder)
        assert Journal(folder.journal).entries()[0].state is State.BROKEN
    assert not broken(folder)
    assert window.healed_by == HARNESS
    assert folder.journal_text() == b""
    labels = [event.label for event in window.record.events]
    assert labels == [
        "dead-man's switch armed, 5 s",
        "breakable injected",
        "the folder seen broken",
        "healing",
        "healed by the harness",
        "redundancy restored",
    ]
    times = [event.t_s for event in window.record.events]
    assert times == sorted(times)
    assert window.record.drawing().events[1] == (0.0, "breakable injected")


def test_it_heals_when_the_body_fails_and_the_body_s_error_is_what_is_seen(folder: Folder) -> None:
    with (
        pytest.raises(AssertionError, match="too long"),
        engine(folder).fault(Breakable(folder=str(folder.folder))),
    ):
        raise AssertionError("too long")
    assert not broken(folder)
    assert folder.journal_text() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_heals_on_a_signal_and_the_run_ends(folder: Folder, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Terminated), engine(folder).fault(Breakable(folder=str(folder.folder))):
        os.kill(os.getpid(), number)
        time.sleep(1)
    assert not broken(folder)
    assert folder.journal_text() == b""
    assert signal.getsignal(number) is before


def test_a_signal_during_healing_waits_until_it_is_healed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Breakable(folder=str(folder.folder))
    heal = Breakable.heal

    def interrupted(self: Breakable, cluster: Folder, drill: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        heal(self, cluster, drill)

    monkeypatch.setattr(Breakable, "heal", interrupted)
    with pytest.raises(Terminated), engine(folder).fault(fault):
        pass
    assert not broken(folder)
    assert folder.journal_text() == b""


@pytest.mark.parametrize("fail", ["check", "arm", "prepare", "inject", "after-inject"])
def test_what_fails_on_the_way_in_is_healed_and_told(folder: Folder, fail: str) -> None:
    with (
        pytest.raises(UnhealableError, match=fail),
        engine(folder).fault(Breakable(folder=str(folder.folder), fail=fail)),
    ):
        pytest.fail("the window opened")
    assert not broken(folder)
    assert not (folder.folder / "armed").exists()
    assert folder.journal_text() == b""


def test_times_count_from_the_break_and_not_from_what_it_meets(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready: list[float] = []

    def prepare(self: Breakable, cluster: Folder, drill: str) -> None:
        assert Journal(folder.journal).entries()[0].state is State.BREAKING
        assert not broken(folder)
        ready.append(time.monotonic())

    monkeypatch.setattr(Breakable, "prepare", prepare)
    with engine(folder).fault(Breakable(folder=str(folder.folder))) as window:
        assert window.broken_s is not None
        assert ready[0] <= window.broken_s


def test_nothing_is_broken_once_half_of_its_switch_s_time_is_gone(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fault_module, "MIN_DEADMAN_S", 0.2)
    monkeypatch.setattr(Breakable, "prepare", lambda *_: time.sleep(0.15))
    fault = Breakable(folder=str(folder.folder), deadman_s=0.2)
    with pytest.raises(RefusedError, match="were gone before the break"), engine(folder).fault(fault):
        pytest.fail("the window opened")
    assert not broken(folder)
    assert folder.journal_text() == b""


def test_a_switch_that_is_not_seen_armed_means_that_nothing_is_broken(folder: Folder) -> None:
    fault = Breakable(folder=str(folder.folder), fail="armed")
    with pytest.raises(RefusedError, match="not seen to be armed"), engine(folder).fault(fault):
        pytest.fail("the window opened")
    assert not broken(folder)


def test_a_fault_that_does_not_take_is_unknown(folder: Folder) -> None:
    fault = Breakable(folder=str(folder.folder), fail="injected")
    with pytest.raises(UnknownError, match="was not seen within"), engine(folder, passing=False).fault(fault):
        pytest.fail("the window opened")
    assert not broken(folder)
    assert folder.journal_text() == b""


def test_a_heal_that_fails_is_loud_though_the_switch_heals(folder: Folder) -> None:
    fault = Breakable(folder=str(folder.folder), fail="heal")
    with (
        pytest.raises(HealError, match="healed by its dead-man's switch and not by the harness"),
        engine(folder).fault(fault),
    ):
        pass
    assert not broken(folder)
    assert folder.journal_text() == b""


def test_a_heal_that_fails_for_good_is_loud_and_stays_in_the_journal(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "ALONE_S", -4.95)
    monkeypatch.setattr(Fault, "heal_s", -4.95)
    fault = Breakable(folder=str(folder.folder), fail="heal")
    with pytest.raises(HealError, match="STILL BROKEN"), engine(folder, passing=False).fault(fault):
        pass
    assert broken(folder)
    assert (folder.folder / "armed").exists()
    (entry,) = Journal(folder.journal).entries()
    assert entry.state is State.HEALING


def test_a_target_that_is_cut_off_is_healed_by_its_switch_quietly_only_where_that_was_to_be_expected(
    folder: Folder,
) -> None:
    expected = Isolating(folder=str(folder.folder), fail="unreachable-heal")
    with engine(folder).fault(expected) as window:
        pass
    assert window.healed_by == SWITCH
    surprise = Breakable(folder=str(folder.folder), fail="unreachable-heal")
    with pytest.raises(HealError, match="no answer"), engine(folder).fault(surprise):
        pass


def test_a_target_that_is_alone_is_not_helped(folder: Folder) -> None:
    with engine(folder).fault(Alone(folder=str(folder.folder), fail="heal")) as window:
        assert broken(folder)
    assert window.healed_by == SWITCH


def test_a_target_that_was_to_be_alone_and_was_helped_is_unknown(folder: Folder) -> None:
    with (
        pytest.raises(UnknownError, match="has not fired"),
        engine(folder).fault(Alone(folder=str(folder.folder))),
    ):
        (folder.folder / "broken").unlink()


def test_a_switch_that_fires_in_mid_drill_makes_the_drill_unknown(folder: Folder) -> None:
    with (
        pytest.raises(UnknownError, match="no longer in"),
        engine(folder).fault(Breakable(folder=str(folder.folder))),
    ):
        folder.fire()
    assert folder.journal_text() == b""


def test_one_fault_at_a_time(folder: Folder) -> None:
    one = engine(folder)
    with one.fault(Breakable(folder=str(folder.folder))):
        with (
            pytest.raises(RefusedError, match="one at a time"),
            one.fault(Breakable(folder=str(folder.folder))),
        ):
            pytest.fail("the second window opened")
        with (
            pytest.raises(RefusedError, match="another harness"),
            engine(folder).fault(Breakable(folder=str(folder.folder))),
        ):
            pytest.fail("the second window opened")
        assert broken(folder)
    assert not broken(folder)


def test_nothing_is_broken_while_the_journal_names_something(folder: Folder) -> None:
    Journal(folder.journal).begin(Breakable(folder=str(folder.folder)))
    with (
        pytest.raises(RefusedError, match="still names breakable"),
        engine(folder).fault(Breakable(folder=str(folder.folder))),
    ):
        pytest.fail("the window opened")
    slept: list[float] = []
    with pytest.raises(RefusedError, match="still names breakable"):
        begin_patiently(
            engine(folder), Breakable(folder=str(folder.folder)), pytest.fail, 180.0, sleep=slept.append
        )
    assert slept == [], "it stays until somebody heals it"


KILLED_AT = [
    "check", "arm", "after-arm", "prepare", "inject", "after-inject", "body", "heal", "after-heal", "disarm",
]  # fmt: skip


@pytest.mark.parametrize("where", KILLED_AT)
def test_sigkill_at_every_step_leaves_a_journal_from_which_the_next_start_heals(
    folder: Folder, where: str
) -> None:
    """A real process, really killed; what it left is healed by another."""
    script = f"""
        import os, signal
        from pathlib import Path
        from chaos.engine import Engine
        from chaos.guard import Guard
        from chaos.journal import Journal
        from tests.chaos.breakable import Breakable, Folder
        world = Folder(Path({str(folder.folder)!r}))
        guard = Guard(checks=(), settle_s=0)
        with Engine(world, guard, Journal(world.journal)).fault(
            Breakable(folder=str(world.folder), kill={where!r})
        ):
            if {where!r} == "body":
                os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        timeout=60,
        check=False,
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    left = Journal(folder.journal).entries()
    assert bool(left) == (where != "check")
    assert broken(folder) == (where in ("after-inject", "body", "heal"))
    for each in recover(folder, Journal(folder.journal), known=KNOWN):
        assert each.healed, each.detail
    assert not broken(folder)
    assert not (folder.folder / "armed").exists()
    assert folder.journal_text() == b""
    with engine(folder).fault(Breakable(folder=str(folder.folder))):
        assert broken(folder)


class Warns:
    """A check that finds something the first `times`, and remembers the fault as the guard's own do."""

    name, before_only = "warns", True

    def __init__(self, times: int) -> None:
        self.times, self.asked_of = times, list[Fault]()

    def problems(self, cluster: object, fault: Fault) -> list[str]:
        assert all(each is not fault for each in self.asked_of), "each look is the first one"
        self.asked_of.append(fault)
        return ["Ceph says SLOW_OPS"] if len(self.asked_of) <= self.times else []


def test_what_the_fault_before_left_behind_is_waited_for(folder: Folder) -> None:
    check = Warns(2)
    ours, fault = engine(folder), Breakable(folder=str(folder.folder))
    ours.guard.checks = (check,)
    said: list[str] = []
    slept: list[float] = []
    looks: list[int] = []
    window = begin_patiently(
        ours, fault, said.append, 25.0, before=lambda: looks.append(len(check.asked_of)),
        clock=lambda: sum(slept), sleep=slept.append,
    )  # fmt: skip
    assert broken(folder) and window.fault == fault and check.asked_of == [fault] * 3
    assert looks == [0, 1, 2] and slept == [10.0, 10.0]
    assert [line.split(":")[0] for line in said] == [
        "waiting until the guard admits it, 25 s at most",
        "waiting until the guard admits it, 15 s at most",
    ]
    ours.end(window)


def test_what_does_not_pass_is_refused_at_the_deadline(folder: Folder) -> None:
    ours = engine(folder)
    ours.guard.checks = (Warns(99),)
    slept: list[float] = []
    with pytest.raises(RefusedError, match="Ceph says SLOW_OPS"):
        begin_patiently(
            ours, Breakable(folder=str(folder.folder)), lambda _: None, 25.0, clock=lambda: sum(slept),
            sleep=slept.append,
        )  # fmt: skip
    assert not broken(folder) and slept == [10.0] * 3

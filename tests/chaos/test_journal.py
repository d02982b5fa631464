"""The journal: nothing that was written is lost, whatever the moment of the crash."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chaos import journal as journal_module
from chaos.journal import Journal, JournalError, State, recover
from cluster.errors import RefusedError
from tests.chaos.breakable import KNOWN, Breakable, Folder

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # many examples, each synced many times
STEPS = [State.ARMED, State.BREAKING, State.BROKEN, State.HEALING, State.HEALED]


class Crashes(RuleBasedStateMachine):
    """A harness that goes through a drill and is killed at any moment, power cut included; another one
    starts after it.

    Held all along: what is broken stands in the journal, and what is broken has an armed switch.
    """

    @initialize()
    def start(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(dir=MEMORY)
        self.world = Folder(Path(self._temporary.name))
        self.fault = Breakable(folder=str(self.world.folder))
        self.fresh()

    def teardown(self) -> None:
        if hasattr(self, "_temporary"):
            self._temporary.cleanup()

    def fresh(self) -> None:
        self.journal = Journal(self.world.journal)
        self.drill: str | None = None
        self.step = -1

    @rule()
    @precondition(lambda self: self.drill is None and not self.journal.entries())
    def intend(self) -> None:
        self.drill = self.journal.begin(self.fault)
        self.step = -1

    @rule()
    @precondition(lambda self: self.drill is not None and self.step < len(STEPS) - 1)
    def advance(self) -> None:
        assert self.drill is not None
        if STEPS[self.step + 1] is State.BREAKING and not self.fault.armed(self.world, self.drill, {}):
            return self.fresh()  # the engine refuses
        self.step += 1
        state = STEPS[self.step]
        if state is State.ARMED:
            return self.journal.advance(self.drill, state, self.fault.arm(self.world, self.drill))
        if state is State.HEALED:
            self.fault.heal(self.world, self.drill)
        self.journal.advance(self.drill, state)
        if state is State.BREAKING:
            self.fault.inject(self.world, self.drill)
        return None

    @rule()
    @precondition(lambda self: self.drill is not None and self.step == len(STEPS) - 1)
    def finish(self) -> None:
        assert self.drill is not None
        self.fault.disarm(self.world, self.drill, {})
        self.journal.clear(self.drill)
        assert self.world.journal_text() == b""
        self.fresh()

    @rule()
    def kill(self) -> None:
        self.fresh()

    @rule(half=st.integers(1, 200))
    def cut_power_while_a_line_is_written(self, half: int) -> None:
        if self.drill is None or self.step >= len(STEPS) - 1:
            return
        whole = self.world.journal_text()
        self.journal.advance(self.drill, STEPS[self.step + 1])
        longer = self.world.journal_text()
        cut = min(len(whole) + half, len(longer) - 1)
        self.world.journal.write_bytes(longer[:cut])
        self.fresh()

    @rule()
    def the_switch_fires(self) -> None:
        self.world.fire()

    @rule()
    @precondition(lambda self: self.drill is None)
    def start_again(self) -> None:
        for each in recover(self.world, Journal(self.world.journal), known=KNOWN):
            assert each.healed
        assert not (self.world.folder / "broken").exists()
        assert not (self.world.folder / "armed").exists()
        assert self.world.journal_text() == b""

    @invariant()
    def what_is_broken_is_named_and_will_heal(self) -> None:
        if hasattr(self, "world") and (self.world.folder / "broken").exists():
            (entry,) = Journal(self.world.journal).entries()
            assert entry.parameters["folder"] == str(self.world.folder)
            assert (self.world.folder / "armed").exists()


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=40, stateful_step_count=25)


@given(cut=st.integers(0, 2000), junk=st.binary(max_size=30))
@settings(max_examples=100)
def test_half_a_line_at_the_end_is_no_damage(cut: int, junk: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        journal = Journal(Path(name, "journal"))
        drill = journal.begin(Breakable(folder="/x"))
        first = journal.path.read_bytes()
        journal.advance(drill, State.ARMED, {"unit": "u"})
        second = journal.path.read_bytes()[len(first) :]
        tail = second[: min(cut, len(second) - 1)] + junk.replace(b"\n", b"")
        journal.path.write_bytes(first + tail)
        (entry,) = journal.entries()
        assert journal.damaged() == 0
        assert entry.state in (State.INTENDED, State.ARMED)
        journal.advance(drill, State.BROKEN)
        assert journal.entries()[0].state is State.BROKEN
        assert journal.damaged() == 0


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(max_examples=100)
def test_a_flipped_bit_is_never_believed(position: int, bit: int) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        journal = Journal(Path(name, "journal"))
        drill = journal.begin(Breakable(folder="/x"))
        journal.advance(drill, State.BROKEN, {"unit": "u"})
        before = journal.entries()
        data = bytearray(journal.path.read_bytes())
        data[position % len(data)] ^= 1 << bit
        journal.path.write_bytes(bytes(data))
        for entry in journal.entries():
            assert entry.parameters == before[0].parameters
            assert entry.state in (State.INTENDED, State.BROKEN)


def test_damage_in_the_middle_is_told_after_healing_what_can_be_read(tmp_path: Path) -> None:
    world = Folder(tmp_path)
    journal = Journal(world.journal)
    drill = journal.begin(Breakable(folder=str(tmp_path)))
    journal.advance(drill, State.BROKEN)
    (tmp_path / "broken").touch()
    lines = world.journal_text().splitlines(keepends=True)
    world.journal.write_bytes(lines[0] + b"deadbeef {}\n" + lines[1])
    with pytest.raises(JournalError, match="1 damaged lines; of 1 faults that could be read 1 are healed"):
        recover(world, journal, known=KNOWN)
    assert not (tmp_path / "broken").exists()
    assert journal.entries()


def test_no_journal_means_nothing_to_heal_and_makes_none(tmp_path: Path) -> None:
    world = Folder(tmp_path)
    assert recover(world, Journal(world.journal)) == []
    assert not world.journal.exists()


def test_what_cannot_be_healed_stays_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "HEAL_S", 0.0)
    monkeypatch.setattr(journal_module, "_GRACE_S", -10.0)
    monkeypatch.setattr(Breakable, "heal_s", 0.0)
    world = Folder(tmp_path)
    journal = Journal(world.journal)
    journal.begin(Breakable(folder=str(tmp_path), fail="heal"))
    (done,) = recover(world, journal, known=KNOWN)
    assert not done.healed
    assert "refused" in done.detail
    assert len(journal.entries()) == 1


def test_a_fault_that_this_version_does_not_know_stays_and_is_told(tmp_path: Path) -> None:
    world = Folder(tmp_path)
    journal = Journal(world.journal)
    journal.begin(Breakable(folder=str(tmp_path)))
    (done,) = recover(world, journal, known={})
    assert not done.healed
    assert "does not know" in done.detail


def test_a_second_harness_is_refused_while_one_recovers(tmp_path: Path) -> None:
    world = Folder(tmp_path)
    journal = Journal(world.journal)
    journal.begin(Breakable(folder=str(tmp_path)))
    with journal.locked(), pytest.raises(RefusedError, match="another harness"):
        recover(world, Journal(world.journal), known=KNOWN)


def test_a_folder_that_cannot_be_written_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(tmp_path / "file" / "journal").begin(Breakable(folder="/x"))


def test_it_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state" / "journal")
    journal.begin(Breakable(folder="/x"))
    assert journal.path.stat().st_mode & 0o077 == 0

"""The ledger's judgement: no allowed outcome is called a loss, and no loss passes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.ledger_model import SECTOR, Ack, History, Judge
from chaos.ledger_record import Layout, record, short

LAYOUT = Layout(block=2048, slots=6, objects=3, object_size=8192)
ID, SEED = bytes(range(16)), 7
JUDGE = Judge(ID, SEED, 1, "rbd:pool", LAYOUT)
ZEROS = bytes(LAYOUT.block)
# how one write ended: told acknowledged; an error, done or not done
ENDS = st.sampled_from(["ack", "ack", "ack", "failed done", "failed undone"])


@dataclass
class Course:
    """A store as the writes left it, and the history as the controller knows it."""

    history: History
    store: dict[int, bytes]

    def at(self, slot: int) -> bytes:
        return self.store.get(slot, ZEROS)


def block(sequence: int, ledger: bytes = ID, number: int = 1) -> bytes:
    return record(ledger, SEED, number, sequence, LAYOUT)


@st.composite
def courses(draw: st.DrawFn, before: int = 0) -> Course:
    """Any number of writes; then the writer stops in order, or dies with writes that nobody was told of, each
    done. `before`: acknowledged writes ahead of them all.
    """
    history, store = History(LAYOUT), dict[int, bytes]()
    sequence = 0
    for end in ["ack"] * before + draw(st.lists(ENDS, max_size=30)):
        if end != "failed undone":
            store[LAYOUT.slot(sequence)] = block(sequence)
        if end == "ack":
            history.acknowledge(Ack(sequence, 0, 0, 0))
        else:
            history.fail(sequence, "an error")
        sequence += 1
    if draw(st.booleans()):
        history.ended(sequence)
        return Course(history, store)
    untold = draw(st.integers(0, 4))
    for done in range(untold):
        store[LAYOUT.slot(sequence + done)] = block(sequence + done)
    return Course(history, store)


@given(courses())
def test_what_may_have_happened_is_no_loss(course: Course) -> None:
    for slot in range(LAYOUT.slots):
        assert JUDGE.judge(course.history, slot, course.at(slot)) is None


def changed(course: Course, slot: int, how: str, draw: st.DataObject) -> tuple[bytes, str]:
    """What the slot holds after a mishap of that name, and the kind of finding it must be."""
    whole, newest = block(course.history.newest[slot]), course.history.newest[slot]
    cut = draw.draw(st.integers(1, LAYOUT.block // SECTOR - 1), "cut") * SECTOR
    older = block(newest - LAYOUT.slots)
    other = draw.draw(st.sampled_from([s for s in range(LAYOUT.slots) if s != slot]), "other")
    byte = draw.draw(st.integers(0, LAYOUT.block - 1), "byte")
    found: dict[str, tuple[bytes, str]] = {
        "zeros": (ZEROS, "lost"),
        "stale": (older, "lost"),
        "swapped": (block(newest - slot + other), "lost"),
        "of another target": (block(newest, number=0), "lost"),
        "of another ledger": (block(newest, ledger=bytes(16)), "lost"),
        "a bit": (whole[:byte] + bytes([whole[byte] ^ 1]) + whole[byte + 1 :], "lost"),
        "torn with zeros": (whole[:cut] + ZEROS[cut:], "torn"),
        "torn with the older": (whole[:cut] + older[cut:], "torn"),
        "torn with the next": (block(newest + LAYOUT.slots)[:cut] + whole[cut:], "torn"),
    }
    return found[how]


MISHAPS = (
    "zeros", "stale", "swapped", "of another target", "of another ledger", "a bit", "torn with zeros",
    "torn with the older", "torn with the next",
)  # fmt: skip


@pytest.mark.parametrize("how", MISHAPS)
@given(course=courses(before=2 * LAYOUT.slots), data=st.data())
def test_every_mishap_is_found_and_named(how: str, course: Course, data: st.DataObject) -> None:
    slot = data.draw(st.sampled_from(sorted(course.history.newest)), "slot")
    found, kind = changed(course, slot, how, data)
    loss = JUDGE.judge(course.history, slot, found)
    assert loss is not None
    assert (loss.target, loss.offset) == ("rbd:pool", LAYOUT.offset(slot))
    assert (loss.sequence, loss.kind) == (course.history.newest[slot], kind)


@given(courses())
def test_what_cannot_be_read_is_lost_only_where_it_was_acknowledged(course: Course) -> None:
    for slot in range(LAYOUT.slots):
        loss = JUDGE.unread(course.history, slot, "input/output error")
        assert (loss is not None) == (slot in course.history.newest)


@given(courses())
def test_what_is_overwritten_is_judged_too(course: Course) -> None:
    for slot, newest in course.history.newest.items():
        found = course.at(slot)
        assert JUDGE.overwritten(course.history, slot, short(found), found) is None
        assert JUDGE.overwritten(course.history, slot, short(block(newest)), None) is None
        assert JUDGE.overwritten(course.history, slot, short(ZEROS), ZEROS) is not None
        assert JUDGE.overwritten(course.history, slot, short(ZEROS), None) is not None
        assert JUDGE.overwritten(course.history, slot, short(ZEROS), found) is not None


def test_a_record_beyond_an_orderly_end_was_never_written() -> None:
    history = History(LAYOUT)
    history.acknowledge(Ack(0, 0, 0, 0))
    assert JUDGE.judge(history, 0, block(6)) is None
    history.ended(1)
    loss = JUDGE.judge(history, 0, block(6))
    assert loss is not None and "never begun" in loss.what


def test_a_history_that_goes_back_is_refused() -> None:
    history = History(LAYOUT)
    history.acknowledge(Ack(3, 0, 0, 0))
    with pytest.raises(ValueError, match="write 3 was told of after write 3"):
        history.acknowledge(Ack(3, 0, 0, 0))


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 50))
def test_slots_never_overlap_and_runs_cover_what_was_used(slots: int, objects: int, used: int) -> None:
    layout = Layout(block=512, slots=slots, objects=objects, object_size=512 * 64)
    offsets = [layout.offset(slot) for slot in range(slots)]
    assert len(set(offsets)) == slots and max(offsets) + layout.block <= layout.size
    used = min(used, slots)
    covered = []
    for first, count in layout.runs(used):
        run = [first + index * objects for index in range(count)]
        assert [layout.offset(s) for s in run] == [layout.offset(first) + 512 * i for i in range(count)]
        covered += run
    assert sorted(covered) == list(range(used))

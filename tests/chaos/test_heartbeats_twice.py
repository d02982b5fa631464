"""Twice: never said of a guest that was handed over, always of one that lived twice for longer than can be
missed, and never denied where nobody looked.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.heartbeats_lives import UNNAMED, Dead, Life, placements, seen, sights_of
from chaos.heartbeats_record import Beat, Holders, Owner, Record, Sight
from chaos.heartbeats_twice import BLIND_S, RunningTwiceError, TwiceReport, seen_twice
from cluster.errors import UnknownError
from tests.chaos.guest_world import GUEST, NODES, SID, Outage, Run, World, ns

randoms = st.integers(0, 10**9).map(Random)


def judged(world: World) -> TwiceReport:
    return seen_twice(world.record())


@st.composite
def handed_over(draw: Any) -> World:
    """A guest that goes from node to node, never on two at once; samples are lost, late, or cut off."""
    random = draw(randoms)
    runs, at, first = [], 0.0, 1
    for number in range(draw(st.integers(1, 4))):
        node = draw(st.sampled_from(NODES))
        length = draw(st.floats(0.01, 15))
        runs.append(Run(node, at, at + length, f"boot-{number}", first))
        at += length + draw(st.sampled_from([0.0, 0.001, 0.2, 5.0]))
        first += 100
    cut = [
        (draw(st.sampled_from(NODES)), since, since + draw(st.floats(0.1, 20)))
        for since in draw(st.lists(st.floats(0, 50), max_size=2))
    ]
    jitter, loss = draw(st.sampled_from([0.0, 0.03, 0.4])), draw(st.sampled_from([0.0, 0.2, 0.7]))
    return World(random, 60.0, runs, cut=cut, jitter=jitter, loss=loss, locks=draw(st.booleans()))


@settings(max_examples=60, deadline=None)
@given(world=handed_over())
def test_a_guest_that_is_handed_over_is_never_accused(world: World) -> None:
    assert judged(world).findings == ()


@st.composite
def lived_twice(draw: Any, least: float, jitter: float = 0.0, loss: float = 0.0) -> World:
    start = draw(st.floats(5, 20))
    overlap = draw(st.floats(least, 10))
    end = start + draw(st.floats(3, 15))
    second = Run("node2", end - overlap, end + draw(st.floats(0, 10)), "boot-b", 200)
    runs = [Run("node1", start, end, "boot-a"), second]
    return World(draw(randoms), 60.0, runs, jitter=jitter, loss=loss)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), jitter=st.sampled_from([0.0, 0.01, 0.05]))
def test_what_is_longer_than_two_samples_and_their_uncertainty_is_always_seen(
    data: Any, jitter: float
) -> None:
    # at each end one interval between samples is lost, and what two clocks and two ticks are unsure by
    bound = 2 * (0.125 + 2 * jitter) + 4 * (jitter + 0.011)
    world = data.draw(lived_twice(bound, jitter))
    (finding,) = [each for each in judged(world).findings if each.how == "node"]
    assert {finding.one.split()[0], finding.other.split()[0]} == {"node1", "node2"}
    assert finding.seconds <= world.at_once_s()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), jitter=st.sampled_from([0.0, 0.05, 0.4]), loss=st.sampled_from([0.0, 0.3, 0.9]))
def test_a_second_life_is_never_denied_beyond_the_resolution(data: Any, jitter: float, loss: float) -> None:
    world = data.draw(lived_twice(0.01, jitter, loss))
    world.cut = [("node2", 0.0, data.draw(st.floats(0.0, 60)))]
    if data.draw(st.booleans(), label="node1 is reset"):
        end = world.runs[0].end
        world.offs = [Outage("node1", end, end + data.draw(st.floats(1, 30)), reset=True)]
    report = judged(world)
    if world.at_once_s() > report.resolution_s:
        assert report.findings or report.unknown
    for finding in report.findings:
        assert finding.seconds <= world.at_once_s()


@pytest.mark.parametrize("overlap", [0.30, 0.5, 5.0])
def test_an_overlap_of_little_more_than_a_heartbeat_is_told_with_both_nodes(overlap: float) -> None:
    runs = [
        Run("node1", 0, 20, "aaaaaaaa-1", instance="10.1"),
        Run("node3", 20 - overlap, 40, "b", 90, "11.2"),
    ]
    report = judged(World(Random(1), 60, runs, jitter=0.0))
    with pytest.raises(RunningTwiceError, match=r"beat-ct was alive twice: two nodes .*node1 .*node3"):
        report.prove()


class TestANodeThatDies:
    """node1 ran the guest and is off from 20; node2 runs it from 40."""

    def world(self, **off: Any) -> World:
        runs = [Run("node1", 0, 20, "a"), Run("node2", 40, 90, "b", 90)]
        return World(Random(2), 90, runs, offs=[Outage("node1", **{"start": 20.0, "end": 30.0, **off})])

    def test_its_bmc_says_so(self) -> None:
        report = judged(self.world(end=200.0))
        report.prove()
        assert report.resolution_s < 6, "seen last, and then off 3 s later"

    def test_its_bmc_says_that_it_was_reset(self) -> None:
        """Its next kernel began when the guest ran elsewhere already: by itself that shows nothing."""
        report = judged(self.world(reset=True, end=60.0))
        report.prove()
        assert report.resolution_s < 6, "seen last, and then reset by its BMC's word 3 s later"

    def test_a_reset_of_which_nothing_is_told_once_a_kernel_runs_shows_nothing(self) -> None:
        """Another one may have come after it, and a kernel between them that nobody saw."""
        record = self.world(reset=True, end=60.0).record()
        early = tuple(each for each in record.power if each.told_ns < ns(50))
        assert any(each.reset_s and each.reset_s > 0 for each in early)
        with pytest.raises(UnknownError, match="may have done so at once"):
            seen_twice(replace(record, power=early)).prove()

    def test_a_reset_before_which_the_bmc_was_not_asked_shows_nothing(self) -> None:
        record = self.world(reset=True, end=60.0).record()
        late = tuple(each for each in record.power if each.told_ns > ns(20))
        with pytest.raises(UnknownError, match="may have done so at once"):
            seen_twice(replace(record, power=late)).prove()

    def test_a_bmc_that_tells_of_no_reset_shows_nothing(self) -> None:
        record = self.world(reset=True, end=60.0).record()
        same = tuple(replace(each, reset_s=7.0) for each in record.power)
        with pytest.raises(UnknownError, match="may have done so at once"):
            seen_twice(replace(record, power=same)).prove()

    def test_a_kernel_that_began_before_the_guest_did_shows_it(self) -> None:
        judged(self.world(bmc=False)).prove()

    def test_a_kernel_that_began_later_shows_nothing(self) -> None:
        report = judged(self.world(bmc=False, end=60.0))
        assert report.findings == ()
        with pytest.raises(
            UnknownError, match=r"ran on node1 and on node2, and may have done so at once for up to 2\d"
        ):
            report.prove()

    def test_a_node_that_never_comes_back_shows_nothing(self) -> None:
        with pytest.raises(UnknownError, match="may have done so at once"):
            judged(self.world(bmc=False, end=200.0)).prove()

    def test_what_the_drill_knows_counts(self) -> None:
        record = self.world(bmc=False, end=200.0).record()
        seen_twice(record, [Dead("node1", ns(20.5), ns(90), "its plug was pulled")]).prove()

    def test_to_be_off_later_is_too_late(self) -> None:
        record = self.world(bmc=False, end=200.0).record()
        with pytest.raises(UnknownError, match="may have done so at once"):
            seen_twice(record, [Dead("node1", ns(50), ns(90), "its plug was pulled")]).prove()

    def test_a_fence_that_failed_is_seen_when_the_node_is_heard_again(self) -> None:
        """Cut off, not dead: the same process is there before and after."""
        runs = [Run("node1", 0, 80, "a"), Run("node2", 40, 90, "b", 90)]
        world = World(Random(2), 90, runs, cut=[("node1", 20.0, 70.0)])
        (finding,) = [each for each in judged(world).findings if each.how == "node"]
        assert finding.from_s == pytest.approx(40, abs=0.5)
        assert finding.seconds == pytest.approx(40, abs=1)


class TestAWatcherThatWasBlind:
    """node2 ran the guest throughout; node1, which did not, was not seen for a while."""

    def world(self, seconds: float, **more: Any) -> World:
        return World(Random(3), 60, [Run("node2", 0, 60, "b")], cut=[("node1", 20.0, 20.0 + seconds)], **more)

    def test_what_the_manager_cannot_do_meanwhile_is_in_the_resolution(self) -> None:
        report = judged(self.world(BLIND_S - 2))
        report.prove()
        assert BLIND_S - 2 < report.resolution_s < BLIND_S

    def test_longer_is_unknown(self) -> None:
        report = judged(self.world(BLIND_S + 2))
        with pytest.raises(UnknownError, match=r"node1 was not seen for 12\.\d s, and not known to be off"):
            report.prove()
        assert report.findings == ()

    def test_what_is_known_of_samples_between_the_same_wide_ends_is_told_once(self) -> None:
        record = self.world(BLIND_S + 2).record()
        late = [s for s in record.sights if s.node == "node1" and s.first_lo_ns < ns(20)][-1]
        wide = [
            replace(late, first_lo_ns=at, first_hi_ns=ns(36), last_lo_ns=at, last_hi_ns=ns(36))
            for at in (ns(20.1), ns(20.2), ns(20.3))
        ]
        unsure = tuple(
            s for s in record.sights if s.node != "node1" or s.last_hi_ns < ns(20) or s.first_lo_ns > ns(36)
        )
        report = seen_twice(replace(record, sights=(*unsure, *wide)))
        (why,) = report.unknown[GUEST]
        assert why.startswith("node1 was not seen for ")

    def test_ceph_knows_that_it_had_not_opened_the_image(self) -> None:
        report = judged(self.world(BLIND_S + 20, locks=True))
        report.prove()
        assert report.resolution_s < 6, "Ceph was asked every 4 s"

    def test_ceph_that_names_it_excludes_nothing(self) -> None:
        record = self.world(BLIND_S + 20, locks=True).record()
        named = tuple(replace(look, watchers=("node1", "node2")) for look in record.holders)
        with pytest.raises(UnknownError):
            seen_twice(replace(record, holders=named)).prove()

    def test_ceph_that_does_not_answer_excludes_nothing(self) -> None:
        record = self.world(BLIND_S + 20, locks=True).record()
        failed = tuple(replace(look, watchers=(), failed="timed out") for look in record.holders)
        with pytest.raises(UnknownError):
            seen_twice(replace(record, holders=failed)).prove()

    def test_a_node_that_starts_runs_no_guest_before_its_services(self) -> None:
        """Another kernel began at 22; it was seen from 40 on, and Ceph told nothing meanwhile."""
        world = self.world(20, offs=[Outage("node1", 20.0, 22.0)])
        record = replace(world.record(), power=())
        with pytest.raises(UnknownError, match="node1 was not seen"):
            seen_twice(record).prove()
        for early, known in ((5, False), (12, True)):
            later = [replace(s, early_ns=ns(early)) if s.kernel_lo_ns > 0 else s for s in record.sights]
            report = seen_twice(replace(record, sights=tuple(later)))
            assert bool(report.unknown) is not known

    def test_the_end_of_the_record_counts_too(self) -> None:
        with pytest.raises(UnknownError, match="node1 was not seen"):
            judged(self.world(60)).prove()

    def test_while_it_ran_nowhere_else_nobody_needs_to_look(self) -> None:
        world = World(Random(3), 60, [Run("node2", 0, 15, "b")], cut=[("node1", 20.0, 50.0)])
        judged(world).prove()


def test_a_guest_that_nobody_saw_is_unknown() -> None:
    with pytest.raises(UnknownError, match="beat-ct was not seen running on any node"):
        judged(World(Random(1), 20)).prove()


def record_of(*beats: Beat, **more: Any) -> Record:
    return Record({GUEST: SID}, NODES, ns(0.25), 0, ns(60), beats, **more)


def heard(boot: str, asked: float, told: float, counter: int = 1) -> Beat:
    return Beat("controller", GUEST, ns(asked), ns(told), boot, counter)


def kinds(record: Record) -> list[str]:
    return [finding.how for finding in seen_twice(record).findings]


def test_an_old_boot_that_is_asked_after_the_new_one_answered_lives_still() -> None:
    assert kinds(record_of(heard("a", 1, 1.1), heard("b", 2, 2.1), heard("a", 2.2, 2.3))) == ["boot"]


def test_an_old_boot_whose_answer_was_long_on_its_way_does_not() -> None:
    assert kinds(record_of(heard("a", 1, 1.1), heard("b", 2, 2.1), heard("a", 1.9, 3.3))) == []


def test_a_hair_between_the_boots_is_enough() -> None:
    assert kinds(record_of(heard("a", 1, 1.1), heard("a", 1.9, 2.0), heard("b", 1.95, 2.1))) == []
    assert kinds(record_of(heard("a", 1, 1.1), heard("a", 2.1, 2.2), heard("b", 1.95, 2.1))) == ["boot"]


def look(at: float, *owners: Owner) -> Holders:
    return Holders(GUEST, ns(at), ns(at + 0.1), owners, tuple(owner.place for owner in owners))


ONE, TWO = Owner("client.1", "auto 7", "node1"), Owner("client.2", "auto 9", "node2")


@pytest.mark.parametrize(
    ("looks", "found"),
    [
        ([look(1, ONE), look(2, TWO), look(3, TWO)], []),
        ([look(1, ONE), look(2), look(3, TWO)], []),
        ([look(1, ONE), look(2, TWO), look(3, ONE)], ["lock"]),
        ([look(1, ONE), look(2, ONE, TWO)], ["lock"]),
        ([look(1, ONE), look(2, TWO), look(3, ONE._replace(cookie="auto 8"))], []),
        ([look(1, ONE), look(2, ONE._replace(client="client.5")), look(3, ONE)], []),
    ],
    ids=["handed over", "let go", "by turns", "at once", "opened anew", "on one node"],
)
def test_owners_of_the_lock(looks: list[Holders], found: list[str]) -> None:
    assert kinds(record_of(holders=tuple(looks))) == found


def test_a_machine_that_moves_while_it_runs_is_not_accused() -> None:
    runs = [Run("node1", 0, 20, "a", instance="10.1"), Run("node2", 12, 40, "a", 49, "11.2i")]
    world = World(Random(4), 60, runs, hears=["node1"])
    judged(world).prove()
    third = Run("node3", 30, 33, "c", 300, "12.3")
    moved = World(Random(4), 60, [*runs, third], hears=["node1"])
    (finding,) = judged(moved).findings
    assert {finding.one, finding.other} == {"node2 (11.2i)", "node3 (12.3)"}


def stretch(node: str, kernel: str, began: int, first: int, last: int, instance: str = "") -> Sight:
    """Samples from `first` to `last` (ns), each unsure by 10 either way; the kernel's begin by 5."""
    running = {GUEST: instance} if instance else {}
    ends = (first - 10, first + 10, last - 10, last + 10)
    return Sight(node, kernel, began - 5, began + 5, *ends, 9, 30, running)


@pytest.mark.parametrize(
    ("sights", "expected"),
    [
        (
            [
                stretch("node1", "k", 0, 100, 200),
                stretch("node1", "k", 0, 220, 400, "7.7"),
                stretch("node1", "k", 0, 430, 500),
            ],
            Life("node1", "7.7", born_ns=230, alive_ns=390, from_ns=190, to_ns=440),
        ),
        (
            [stretch("node1", "k", 0, 220, 400, "7.7"), stretch("node1", "new", 600, 650, 700)],
            Life("node1", "7.7", born_ns=230, alive_ns=390, from_ns=0, to_ns=605),
        ),
        (
            [stretch("node1", "k", 0, 100, 200), stretch("node1", "new", 500, 520, 700, "7.7")],
            Life("node1", "7.7", born_ns=530, alive_ns=690, from_ns=495, to_ns=9000),
        ),
        (
            [stretch("node1", "k", 0, 220, 300, "7.7"), stretch("node1", "k", 0, 600, 700, "7.7")],
            Life("node1", "7.7", born_ns=230, alive_ns=690, from_ns=0, to_ns=9000),
        ),
    ],
    ids=[
        "between two looks",
        "until the next kernel began",
        "since its kernel began",
        "one process all the while",
    ],
)
def test_what_is_certain_of_a_life_on_a_node(sights: list[Sight], expected: Life) -> None:
    record = Record({GUEST: SID}, NODES, ns(0.25), 0, 9000, sights=tuple(sights))
    assert placements(record, GUEST) == [expected]


def test_the_closest_that_is_told_of_a_kernels_start_counts() -> None:
    """The first comparison of clocks may have waited for a connection to a node that was still starting."""
    vague = replace(stretch("node1", "new", 600, 650, 700), kernel_lo_ns=300, kernel_hi_ns=640)
    close = stretch("node1", "new", 600, 710, 800)
    sights = (stretch("node1", "k", 0, 220, 400, "7.7"), vague, close)
    record = Record({GUEST: SID}, NODES, ns(0.25), 0, 9000, sights=sights)
    assert [s.kernel_lo_ns for s in sights_of(record, "node1")] == [-5, 595, 595]
    (life,) = placements(record, GUEST)
    assert life.to_ns == 605


def test_a_node_that_is_off_ends_a_life_only_after_it_was_last_seen() -> None:
    sights = (stretch("node1", "k", 0, 220, 400, "7.7"),)
    record = Record({GUEST: SID}, NODES, ns(0.25), 0, 9000, sights=sights)
    for since, until in ((395, 395), (450, 450), (300, 9000)):
        (life,) = placements(record, GUEST, [Dead("node1", since, 9000, "told")])
        assert life.to_ns == until
    (elsewhere,) = placements(record, GUEST, [Dead("node2", 450, 9000, "told")])
    assert elsewhere.to_ns == 9000


def test_an_instance_without_a_name_lives_only_while_it_is_seen() -> None:
    """It may be another one after a pause; a named one is the same."""

    def there(node: str, since: float, until: float, instance: str) -> Sight:
        ends = (ns(since), ns(since + 0.1), ns(until - 0.1), ns(until))
        return Sight(node, "k", -9, -8, *ends, 9, ns(0.2), {GUEST: instance} if instance else {})

    for name, found in ((UNNAMED, []), ("7.7", ["node"])):
        sights = (there("node1", 1, 5, name), there("node1", 20, 25, name), there("node2", 10, 15, "8.8"))
        assert kinds(record_of(sights=sights)) == found
        unbroken = (there("node1", 1, 5, name), there("node1", 5.1, 12, name), there("node2", 10, 15, "8.8"))
        assert kinds(record_of(sights=unbroken)) == ["node"]


points = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 8)).map(lambda pair: (pair[0], sum(pair))),
    min_size=1,
    max_size=4,
)


@given(one=points, other=points)
def test_lives_met_only_where_no_choice_of_moments_keeps_them_apart(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    """By hand: as late as possible for the first life to begin with, and as early as possible for its end."""

    def before(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> bool:
        return max(lo for lo, _ in a) < min(hi for _, hi in b)

    apart = before(one, other) or before(other, one)
    assert seen("x", "one", one).met(seen("y", "other", other)) is not apart

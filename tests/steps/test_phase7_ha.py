"""Sentences of phase 7: true of what is as ordered, and false of each thing that is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace, TracebackType
from typing import Any

import pytest

from chaos.heartbeats_record import Beat, Record
from cluster.errors import DeadlineError, NotApplicableError, RackproofError
from cluster.site import ROOT, Site, load
from provisioners.ha.manager import Rule, State
from provisioners.ha.missing import missing
from provisioners.ha.observation import Holder, Observation, Service, Watchdog
from reports.evidence import Run
from steps import phase7_ha as steps
from steps.verdict import NotAsOrderedError
from tests.provisioners.high_availability import (
    all_kept,
    with_config,
    with_guest,
    with_manager,
    with_node,
    without_guest,
)

NODE = "pve1-node2"


@pytest.fixture(scope="module")
def site() -> Site:
    return load(ROOT / "sites/pve1.toml")


@pytest.fixture
def good(site: Site) -> Observation:
    return all_kept(site)


class Seen:
    """In place of the phases of a session: what phase 7 saw."""

    def __init__(self, site: Site, seen: Observation) -> None:
        self.site, self.seen = site, seen

    def require(self, number: int) -> Observation:
        assert number == 7
        return self.seen

    def undone(self, number: int) -> list[str]:
        return [change.summary for change in missing(self.site, self.require(number))]


def say(site: Site, run: Run, seen: Observation, step: Callable[..., None]) -> None:
    """One sentence, with as much as its step takes."""
    known = {"site": site, "phases": Seen(site, seen), "evidence": run}
    names = step.__code__.co_varnames[: step.__code__.co_argcount]
    step(**{name: known[name] for name in names})


SENTENCES = (
    *(steps._ready, steps._guests, steps._media, steps._kept, steps._preferred, steps._leads, steps._obeys),
    *(steps._policy, steps._watchdog, steps._holders, steps._peers, steps._waits, steps._fencing_services),
    *(steps._services, steps._nothing_left),
)


@pytest.mark.parametrize("step", SENTENCES, ids=lambda step: step.__name__)
def test_every_sentence_is_true_of_what_is_as_ordered(
    step: Any, site: Site, good: Observation, run: Run
) -> None:
    say(site, run, good, step)


def service(good: Observation, name: str, found: Service) -> Observation:
    return with_node(good, NODE, services={**good.node(NODE).services, name: found})


def rule(good: Observation, **changes: Any) -> Observation:
    rules = good.told().rules
    changed = replace(rules["rackproof-beat-ct"], **changes)
    return with_manager(good, rules={**rules, "rackproof-beat-ct": changed})


def resource(good: Observation, **changes: str) -> Observation:
    kept = good.told().resources
    return with_manager(good, resources={**kept, "ct:9001": {**kept["ct:9001"], **changes}})


def told(good: Observation, **changes: Any) -> Observation:
    return with_node(good, NODE, fencing={**good.node(NODE).fencing, **changes})


FALSE: list[tuple[str, Any, Callable[[Observation], Observation], str]] = [
    ("no guest", steps._guests, lambda o: without_guest(o, 9001), r"beat-ct \(9001\): is not there"),
    ("lost guest", steps._guests, lambda o: with_guest(o, 9001, silent="no answer"), "does not tell of it"),
    ("other guest", steps._guests, lambda o: with_config(o, 9001, tags=""), "another's guest"),
    ("hardware", steps._guests, lambda o: with_config(o, 9002, memory="1"), "memory 1, expected 512"),
    (
        "nobody tells",
        steps._guests,
        lambda o: replace(o, guests=replace(o.guests, guests={}, silent="no answer")),
        "no answer",
    ),
    (
        "medium",
        steps._media,
        lambda o: replace(o, guests=replace(o.guests, images=frozenset())),
        r"cephfs:iso/beat-vm-.*\.iso is not there",
    ),
    ("not kept", steps._kept, lambda o: with_manager(o, resources={}), "beat-ct: nothing keeps it"),
    ("patience", steps._kept, lambda o: resource(o, max_restart="9"), "max_restart 9, expected 1"),
    (
        "given up",
        steps._kept,
        lambda o: with_manager(o, services={**o.told().services, "vm:9002": State(NODE, "error")}),
        "beat-vm: is error, expected started",
    ),
    ("no rule", steps._preferred, lambda o: with_manager(o, rules={}), "beat-ct: prefers no node"),
    ("other nodes", steps._preferred, lambda o: rule(o, nodes={NODE: 1}), "prefers pve1-node2:1, expected"),
    ("strict", steps._preferred, lambda o: rule(o, strict=True), "strictly, expected"),
    ("rule off", steps._preferred, lambda o: rule(o, disabled=True), "does not hold: it is disabled"),
    ("rule refused", steps._preferred, lambda o: rule(o, problem="too many"), "does not hold: too many"),
    (
        "second rule",
        steps._preferred,
        lambda o: with_manager(
            o, rules={**o.told().rules, "web": Rule("resource-affinity", frozenset({"ct:9001"}), {}, False)}
        ),
        "the rule web binds it too",
    ),
    ("no quorum", steps._leads, lambda o: with_manager(o, quorate=False), "has no quorum"),
    (
        "nobody leads",
        steps._leads,
        lambda o: with_manager(o, master="", leading=""),
        "nobody leads; expected",
    ),
    ("dead leader", steps._leads, lambda o: with_manager(o, leading="old timestamp - dead?"), "dead"),
    ("stranger leads", steps._leads, lambda o: with_manager(o, master="stray"), "stray leads"),
    ("disarmed", steps._leads, lambda o: with_manager(o, armed="disarmed"), "is disarmed"),
    (
        "idle part",
        steps._obeys,
        lambda o: with_manager(o, lrms={**o.told().lrms, NODE: "old timestamp - dead?"}),
        "its part is old timestamp",
    ),
    ("no part", steps._obeys, lambda o: with_manager(o, lrms={}), "its part is not there"),
    (
        "maintenance",
        steps._obeys,
        lambda o: with_manager(o, nodes={**o.told().nodes, NODE: "maintenance"}),
        "in the state maintenance",
    ),
    ("policy", steps._policy, lambda o: with_manager(o, policy="migrate"), "migrate, expected conditional"),
    (
        "watchdog",
        steps._watchdog,
        lambda o: with_node(o, NODE, watchdogs=(Watchdog(0, True, 10, "softdog"),)),
        "softdog is in force, expected ipmi_watchdog",
    ),
    ("nobody holds", steps._holders, lambda o: with_node(o, NODE, holders=()), "holds no watchdog"),
    (
        "two hold",
        steps._holders,
        lambda o: with_node(
            o, NODE, holders=(*o.node(NODE).holders, Holder(9, "/dev/watchdog", "weka.service", "weka"))
        ),
        r"process 9 \(weka, weka.service\) holds /dev/watchdog",
    ),
    ("no fencing", steps._peers, lambda o: with_node(o, NODE, fencing={}), "it is not there"),
    ("too few peers", steps._peers, lambda o: told(o, peers=[]), "does not know pve1-node1"),
    ("too soon", steps._waits, lambda o: told(o, wait_s=70), "waits 70 s, expected more than 70 s"),
    ("never told", steps._waits, lambda o: with_node(o, NODE, fencing={}), "waits 0 s"),
    (
        "fencing down",
        steps._fencing_services,
        lambda o: service(o, "rackproof-fencing", Service(False, True)),
        "does not run",
    ),
    (
        "fencing not at boot",
        steps._fencing_services,
        lambda o: service(o, "rackproof-fencing", Service(True, False)),
        "does not start at boot",
    ),
    ("crm", steps._services, lambda o: service(o, "pve-ha-crm", Service(False, True)), "pve-ha-crm does not"),
    ("lrm", steps._services, lambda o: service(o, "pve-ha-lrm", Service(True, False)), "pve-ha-lrm does not"),
    ("left undone", steps._nothing_left, lambda o: with_manager(o, policy="freeze"), "it is freeze"),
]


@pytest.mark.parametrize(("step", "change", "said"), [c[1:] for c in FALSE], ids=[c[0] for c in FALSE])
def test_a_sentence_is_false_of_what_is_not(
    step: Any, change: Any, said: str, site: Site, good: Observation, run: Run
) -> None:
    with pytest.raises(NotAsOrderedError, match=said):
        say(site, run, change(good), step)


def test_where_guests_are_allowed_to_stop_that_is_as_ordered(site: Site, good: Observation, run: Run) -> None:
    policy = site.guests[0].ha
    assert policy is not None
    stopped = site.guests[0].model_copy(update={"ha": policy.model_copy(update={"state": "stopped"})})
    other = site.model_copy(update={"guests": (stopped, site.guests[1])})
    seen = with_manager(
        resource(good, state="stopped"), services={**good.told().services, "ct:9001": State(NODE, "stopped")}
    )
    say(other, run, seen, steps._kept)


@pytest.mark.parametrize(
    ("changes", "reason", "step"),
    [
        ({"ha": None, "guests": ()}, "PF-NO-HA", steps._ready),
        ({"guests": ()}, "PF-NO-GUESTS", steps._guests),
        ({"guests": ()}, "PF-NO-GUESTS", steps._kept),
    ],
)
def test_what_is_not_ordered_is_not_applicable(
    changes: dict[str, Any], reason: str, step: Any, site: Site, good: Observation, run: Run
) -> None:
    with pytest.raises(NotApplicableError, match=reason):
        say(site.model_copy(update=changes), run, good, step)


@pytest.mark.parametrize("step", [steps._peers, steps._waits, steps._fencing_services])
def test_a_power_cycle_that_is_not_ordered_is_not_applicable(
    step: Any, site: Site, good: Observation, run: Run
) -> None:
    assert site.ha is not None
    other = site.model_copy(update={"ha": site.ha.model_copy(update={"power_cycle": False})})
    with pytest.raises(NotApplicableError, match="PF-NO-POWER-CYCLE"):
        say(other, run, good, step)


def beats(guest: str, counts: list[int], boots: str = "a") -> list[Beat]:
    """Answers 0.25 s apart; `boots` is one letter an answer, the last one repeated."""
    found = []
    for number, count in enumerate(counts):
        boot = boots[min(number, len(boots) - 1)] * 8
        at = 1_000_000_000 + number * 250_000_000
        found.append(Beat("controller", guest, at, at + 1_000_000, boot, count))
    return found


def record(*heard: list[Beat]) -> Record:
    """What was heard of both guests, and nothing seen of nodes."""
    everything = tuple(sorted((b for each in heard for b in each), key=lambda b: b.told_ns))
    names = {"beat-ct": "ct:9001", "beat-vm": "vm:9002"}
    return Record(names, ("pve1-node1",), 250_000_000, 0, 10_000_000_000, beats=everything)


def test_a_rising_count_is_noted(site: Site, run: Run) -> None:
    told: list[str] = []
    evidence: Any = SimpleNamespace(note=told.append)
    steps._answers(site, record(beats("beat-ct", [3, 4, 5]), beats("beat-vm", [8, 9])), evidence)
    assert told == [
        "beat-ct: counted from 3 to 5 while it was listened to",
        "beat-vm: counted from 8 to 9 while it was listened to",
    ]


def test_a_count_that_is_told_again_by_another_start_is_found(run: Run) -> None:
    with pytest.raises(RackproofError, match="beat-ct: beat 4 came after it began anew"):
        steps._once(record(beats("beat-ct", [3, 4, 4, 5], "aab"), beats("beat-vm", [8, 9])), run)


class Listening:
    """In place of the watch of heartbeats."""

    def __init__(self, record: Record, cluster: Any, guests: Any, **_: Any) -> None:
        self.record, self.guests = record, guests

    def __enter__(self) -> Listening:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def until(self, is_so: Callable[[Record], bool], deadline_s: float, what: str) -> Record:
        if not is_so(self.record):
            raise DeadlineError(f"{what}: not seen within {deadline_s:g} s")
        return self.record


@pytest.mark.parametrize(("counts", "enough"), [(8, True), (7, False)])
def test_each_guest_is_listened_to_until_it_has_counted_on(
    counts: int, enough: bool, site: Site, good: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = record(beats("beat-ct", list(range(8))), beats("beat-vm", list(range(counts))))
    monkeypatch.setattr(steps, "Heartbeats", lambda *words, **named: Listening(found, *words, **named))
    listen: Any = steps.heard.__wrapped__  # type: ignore[attr-defined]
    if enough:
        assert listen(site, Seen(site, good), None) is found
    else:
        with pytest.raises(DeadlineError, match="8 counts of each golden guest"):
            listen(site, Seen(site, good), None)

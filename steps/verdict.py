"""How a sentence comes true or not: findings are listed whole, numbers are measured against the target."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.errors import RackproofError
from cluster.site import Site
from cluster.targets import target
from reports.evidence import Run, judge
from reports.model import Measurement


class NotAsOrderedError(RackproofError):
    """What is true differs from what the sentence says; the message lists every difference."""


def all_hold(findings: Iterable[str]) -> None:
    """Fails with every finding, each once; an empty list is a pass."""
    found = list(dict.fromkeys(findings))
    if found:
        raise NotAsOrderedError("; ".join(found))


def limit_of(site: Site, name: str, asked: str) -> float:
    """The most that target `name` allows: as the feature asks, or the site's where that is laxer."""
    promised, relaxed = target(name), site.relax.get(name)
    return max(promised.parse(asked), promised.parse(relaxed) if relaxed is not None else 0.0)


def measure(
    run: Run,
    site: Site,
    name: str,
    what: str,
    value: float,
    asked: str,
    *,
    resolution: float,
    method: str,
    predicted: float | None = None,
) -> Measurement:
    """Records one number against the target `name` as the feature asks it; the site may have relaxed it.

    `value` and `resolution` are in the target's unit. Nothing is raised: several numbers of one sentence are
    all recorded before `all_met` judges them.
    """
    promised = target(name)
    relaxed = site.relax.get(name)
    return run.measure(
        judge(
            what,
            value,
            promised.unit,
            promised.relation,
            promised.parse(asked),
            promised.parse(relaxed) if relaxed is not None else None,
            resolution,
            method,
            predicted,
        )
    )


def all_met(measurements: Iterable[Measurement]) -> None:
    """Fails with every measurement that missed its target; none at all is a failure too."""
    taken = list(measurements)
    if not taken:
        raise NotAsOrderedError("nothing was measured")
    all_hold(
        f"{m.name} is {m.value:.4g} {m.unit}, expected {m.relation} {m.target:.4g} {m.unit}"
        for m in taken
        if not m.met
    )

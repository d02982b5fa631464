"""Every order of a site that cannot hold, named before anything is built, each with what to do instead.

`contradictions(site)` is pure: it reads the site file and nothing else. Sources of the figures are in the
modules of this package, one an area; docs/contradictions.md explains each id.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cluster.contradictions import cloud, gpu, hardware, membership, network, services, storage
from cluster.contradictions.rule import RULES, Contradiction, Severity

if TYPE_CHECKING:
    from cluster.site import Site

__all__ = ["IDS", "Contradiction", "Severity", "contradictions"]

_AREAS = tuple(area.__name__ for area in (hardware, gpu, network, membership, storage, cloud, services))
RULES.sort(key=lambda entry: _AREAS.index(entry[1].__module__))
IDS: tuple[str, ...] = tuple(dict.fromkeys(reason_id for reason_id, _ in RULES))
_WORST_FIRST: tuple[Severity, ...] = ("error", "warning", "info")


def _found(site: Site) -> list[Contradiction]:
    return [
        Contradiction(reason_id, found.severity, found.key, found.order, found.truth, found.instead)
        for reason_id, rule in RULES
        for found in rule(site)
    ]


def contradictions(site: Site) -> list[Contradiction]:
    """All contradictions of the site, worst first.

    What only the original order contradicts (`[ordered]`, where the file chose otherwise) is listed as info:
    it is settled, and whoever ordered must know how.
    """
    own = _found(site)
    if site.ordered:
        known = {(each.id, each.key) for each in own}
        own += [
            replace(
                each,
                severity="info",
                key=_ordered_key(each.key, site),
                instead=f"settled here: {each.instead}",
            )
            for each in _found(site.as_ordered())
            if (each.id, each.key) not in known
        ]
    return sorted(own, key=lambda each: _WORST_FIRST.index(each.severity))


def _ordered_key(key: str, site: Site) -> str:
    return f'ordered."{key}"' if key in site.ordered else key

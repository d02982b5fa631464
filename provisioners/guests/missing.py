"""What the golden guests lack: a pure function of the site and the observation.

A guest that differs from the order is made anew: what it holds is a count. A guest of an ordered number that
we did not make is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from provisioners.change import Change
from provisioners.guests.observation import GuestSeen, Observation
from provisioners.guests.order import description, guest, hardware, home, image, volume

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_services import Guest

ACTIONS = ("wait", "retire", "images", "guests", "start")
PEOPLE = "people"  # no action of this name exists: the loop says that no provisioning can put it right


def missing(site: Site, observation: Observation) -> list[Change]:
    """Every change that the golden guests lack, in the order in which they are to be made."""
    if not site.guests:
        return []
    first = site.nodes[0].name
    if observation.silent:
        text = f"see the guests, of which no node tells ({observation.silent})"
        return [Change(first, text, PEOPLE, blocks=True)]
    found = [change for each in site.guests for change in _guest(site, observation, each)]
    rank = {name: number for number, name in enumerate(ACTIONS)}
    return sorted(found, key=lambda change: rank.get(change.action, -1))


def _guest(site: Site, observation: Observation, wanted: Guest) -> Iterator[Change]:
    seen = observation.guests.get(wanted.vmid)
    if seen is not None and seen.silent:
        text = f"see {wanted.name}, whose node does not answer ({seen.silent})"
        yield Change(seen.node, text, PEOPLE, blocks=True)
        return
    if seen is not None and seen.unfinished:
        yield _begun(seen, wanted)
        return
    if seen is not None and not seen.ours:
        text = f"give {wanted.name} the number {wanted.vmid}: guest '{seen.name}' has it, which is not ours"
        yield Change(seen.node, text, PEOPLE)
        return
    where = home(site, wanted)
    wrong = differences(site, seen) if seen is not None else []
    stands = seen is not None and not wrong
    if seen is not None and wrong:
        yield Change(seen.node, f"take {wanted.name} away to make it anew: {', '.join(wrong)}", "retire")
    # A virtual machine starts from its medium each time, a container came out of its template once.
    if volume(site, wanted) not in observation.images and not (stands and wanted.kind == "container"):
        yield Change(where, f"make {image(site, wanted)} and put it into the storage", "images")
    if not stands:
        yield Change(where, f"make the {_word(wanted)} {wanted.name} ({wanted.vmid})", "guests")
    if wanted.ha is None and not (stands and seen is not None and seen.running):
        yield Change(where, f"start {wanted.name}", "start")


def _begun(seen: GuestSeen, wanted: Guest) -> Change:
    if seen.making:
        return Change(seen.node, f"wait until {wanted.name} is made, which an earlier run began", "wait")
    tool = "pct" if seen.kind == "container" else "qm"
    text = f"free {wanted.vmid} of a creation that was broken off ({tool} unlock, {tool} destroy)"
    return Change(seen.node, text, PEOPLE)


def _word(wanted: Guest) -> str:
    return "container" if wanted.kind == "container" else "virtual machine"


def differences(site: Site, seen: GuestSeen) -> list[str]:
    """What of a guest that we made is not as ordered, as `what have, expected want`."""
    wanted = guest(site, seen.vmid)
    if seen.kind != wanted.kind:
        return [f"it is a {seen.kind}, expected a {wanted.kind}"]
    found = []
    if seen.description != description(site, wanted):
        found.append("it was made by another recipe")
    for key, value in hardware(site, wanted).items():
        have = seen.config.get(key, "")
        if key in {"rootfs", "virtio0"}:
            storage = have.partition(":")[0]
            if storage != wanted.storage:
                found.append(f"disk in {storage or 'no storage'}, expected {wanted.storage}")
        elif key == "net0":
            found += _network(have, value)
        elif have != value:
            found.append(f"{key} {have or 'unset'}, expected {value}")
    return found


def _network(have: str, want: str) -> Iterator[str]:
    """Bridge and VLAN of a port. A virtual machine's first word may bear its MAC address."""
    seen = dict(part.split("=", 1) for part in have.split(",") if "=" in part)
    for key, value in (part.split("=", 1) for part in want.split(",") if "=" in part):
        if key in {"bridge", "tag"} and seen.get(key) != value:
            yield f"{key} {seen.get(key, 'none')}, expected {value}"

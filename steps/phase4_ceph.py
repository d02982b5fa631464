"""Phase 4: the storage as its monitors, its nodes and its clients show it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from pytest_bdd import then

from cluster.errors import NotApplicableError, UnknownError
from cluster.site import Site
from provisioners.ceph import guard
from provisioners.ceph.missing import missing
from provisioners.ceph.observation import Observation, digest
from provisioners.ceph.order import (
    MAJORS,
    drives,
    ordered,
)
from provisioners.ceph.state import AUTH, RECLAIM, State
from reports.evidence import Run
from steps.phases import Phases
from steps.verdict import NotAsOrderedError, all_hold

Notes = dict[str, Any]
DRIFT_S = 0.05  # mon_clock_drift_allowed, unless the cluster says otherwise


@pytest.fixture
def storage_seen(phases: Phases) -> Observation:
    """The last observation of the storage."""
    found: Observation = phases.require(4)
    return found


@pytest.fixture
def storage_state(storage_seen: Observation) -> State:
    """What the monitors say."""
    return storage_seen.cluster()


def _standing(storage_seen: Observation) -> dict[int, list[tuple[str, str]]]:
    """Where each OSD stands: (node, serial number) of every drive with a volume of it."""
    found: dict[int, list[tuple[str, str]]] = {}
    for name in storage_seen.seen:
        for drive in storage_seen.node(name).drives:
            for volume in drive.volumes:
                if volume.osd is not None and volume.tags.get("cluster_fsid") == storage_seen.fsid:
                    found.setdefault(volume.osd, []).append((name, drive.serial))
    return found


@then("as many storage daemons are up and in as data drives were ordered")
def _count(site: Site, storage_state: State) -> None:
    want = len(drives(site))

    def findings() -> Iterator[str]:
        for what, have in (
            ("up", sum(osd.up for osd in storage_state.osds)),
            ("in", sum(osd.inside for osd in storage_state.osds)),
        ):
            if have != want:
                bad = [f"osd.{o.id}" for o in storage_state.osds if not (o.up if what == "up" else o.inside)]
                yield f"{have} of {want} OSDs are {what} (not {what}: {', '.join(bad) or 'those never made'})"
        if len(storage_state.osds) > want:
            yield f"there are {len(storage_state.osds)} OSDs, expected {want}"

    all_hold(findings())


@then("each of them stands on an ordered data drive of its own, by serial number")
def _own_drive(site: Site, storage_seen: Observation, storage_state: State) -> None:
    standing = _standing(storage_seen)

    def findings() -> Iterator[str]:
        wanted = set(drives(site))
        for osd in storage_state.osds:
            where = standing.get(osd.id, [])
            if len(where) != 1:
                yield f"osd.{osd.id} stands on {len(where)} ordered drives, expected one"
            elif where[0] not in wanted:
                yield f"osd.{osd.id} stands on {where[0][1]} of {where[0][0]}, which was not ordered there"
        shared = Counter(place for places in standing.values() for place in places)
        yield from (f"{n} OSDs share drive {s} of {node}" for (node, s), n in shared.items() if n > 1)
        unused = wanted - {place for places in standing.values() for place in places}
        yield from (f"no OSD stands on data drive {s} of {node}" for node, s in sorted(unused))

    all_hold(findings())


@then("none of them stands on a boot drive")
def _no_boot(site: Site, storage_seen: Observation) -> None:
    boot = {serial for node in site.nodes for serial in node.boot_drives}
    all_hold(
        f"osd.{osd} stands on boot drive {serial} of {node}"
        for osd, places in _standing(storage_seen).items()
        for node, serial in places
        if serial in boot
    )


@then("every node carries as many storage daemons as the others, with the same weight")
def _even(site: Site, storage_state: State) -> None:
    hosts = Counter(osd.host for osd in storage_state.osds)
    weights: dict[str, float] = {}
    for osd in storage_state.osds:
        weights[osd.host] = weights.get(osd.host, 0.0) + osd.weight
    want = site.hardware.data_drives.count

    def findings() -> Iterator[str]:
        for node in site.nodes:
            if hosts[node.name] != want:
                yield f"{node.name} carries {hosts[node.name]} OSDs, expected {want}"
        yield from (
            f"OSDs stand under {h or 'no host'}, which is no node"
            for h in hosts
            if h not in {n.name for n in site.nodes}
        )
        if weights and max(weights.values()) > min(weights.values()) * 1.01:
            said = ", ".join(f"{h} {w:.3f}" for h, w in sorted(weights.items()))
            yield f"the nodes' weights differ: {said}"

    all_hold(findings())


@then("every storage daemon bears the ordered device class")
def _class(site: Site, storage_state: State) -> None:
    want = ordered(site).device_class
    all_hold(
        f"osd.{o.id} bears {o.device_class or 'no class'}, expected {want}"
        for o in storage_state.osds
        if o.device_class != want
    )


@then("every placement group is active and clean")
def _clean(storage_state: State) -> None:
    if not storage_state.pgs:
        raise NotAsOrderedError("there is no placement group")
    all_hold(f"{n} placement groups are {state}" for state, n in storage_state.unclean.items())


@then("Ceph reports HEALTH_OK with nothing muted")
def _healthy(storage_state: State) -> None:
    def findings() -> Iterator[str]:
        if storage_state.health != "HEALTH_OK":
            yield f"Ceph reports {storage_state.health}"
        yield from (
            f"{code}: {text}"
            for code, text in storage_state.checks.items()
            if code not in storage_state.muted
        )
        yield from (f"{code} is muted" for code in storage_state.muted)

    all_hold(findings())


@then("no flag is set that keeps Ceph from healing itself")
def _no_flags(storage_state: State) -> None:
    all_hold(f"the flag {flag} is set" for flag in storage_state.flags)


@then("no daemon has crashed unseen")
def _no_crash(storage_state: State) -> None:
    if "crashes" in storage_state.unanswered:
        raise NotAsOrderedError(f"crashes could not be asked for: {storage_state.unanswered['crashes']}")
    all_hold(f"{entity} has crashed (see `ceph crash ls-new`)" for entity in storage_state.crashes)


@then("a monitor runs on each node and all of them are in quorum")
def _mons(site: Site, storage_seen: Observation, storage_state: State) -> None:
    all_hold(_running(site, storage_seen, "mon"))
    want = {n.name for n in site.nodes}
    all_hold(
        text
        for text in (
            f"monitors in the map are {sorted(storage_state.mons)}, expected {sorted(want)}"
            if set(storage_state.mons) != want
            else "",
            f"in quorum are {sorted(storage_state.quorum)}, expected {sorted(want)}"
            if set(storage_state.quorum) != want
            else "",
        )
        if text
    )


def _running(site: Site, storage_seen: Observation, kind: str) -> Iterator[str]:
    for node in site.nodes:
        unit = f"ceph-{kind}@{node.name}"
        state = storage_seen.node(node.name).units.get(unit, "not known to systemd")
        if state != "active":
            yield f"{node.name}: {unit} is {state}"


@then("a manager is active and each other node has one standing by")
def _mgrs(site: Site, storage_seen: Observation, storage_state: State) -> None:
    all_hold(_running(site, storage_seen, "mgr"))
    _standing_by(
        site, "manager", [storage_state.mgr] if storage_state.mgr else [], storage_state.mgr_standbys
    )


@then("a metadata server is active and each other node has one standing by")
def _mdss(site: Site, storage_seen: Observation, storage_state: State) -> None:
    name = ordered(site).filesystem
    if name is None:
        raise NotApplicableError(
            "PF-NO-CEPHFS", f"{site.name} orders no file system.", "name storage_state.filesystem."
        )
    all_hold(_running(site, storage_seen, "mds"))
    active = next((f.active for f in storage_state.filesystems if f.name == name), ())
    _standing_by(site, "metadata server", list(active), storage_state.mds_standbys)


def _standing_by(site: Site, what: str, active: list[str], standbys: tuple[str, ...]) -> None:
    names = {n.name for n in site.nodes}

    def findings() -> Iterator[str]:
        if len(active) != 1:
            yield f"{len(active)} {what}s are active, expected 1"
        missed = names - set(active) - set(standbys)
        if missed:
            yield f"no {what} stands by on {', '.join(sorted(missed))}"

    all_hold(findings())


@then("every daemon of Ceph runs the ordered release and all run the same version")
def _release(site: Site, storage_state: State) -> None:
    release = ordered(site).release.lower()
    overall = storage_state.versions.get("overall", {})
    if not overall:
        raise NotAsOrderedError("no daemon told its version")

    def findings() -> Iterator[str]:
        for version, count in overall.items():
            found = re.search(r"ceph version (\d+)\.", version)
            major = MAJORS.get(release)
            named = f" {release} " in version or (found is not None and int(found[1]) == major)
            if not named:
                yield f"{count} daemons run {version}, expected {release}"
        if len(overall) > 1:
            yield f"daemons run {len(overall)} versions: {', '.join(overall)}"

    all_hold(findings())


@then("each monitor and storage daemon listens on the ordered networks and on no other")
def _networks(site: Site, storage_state: State) -> None:
    table = ordered(site)
    public = site.networks[table.public_network].subnet
    private = site.networks[table.cluster_network].subnet
    places = [(f"mon.{n}", a, public, "public") for n, a in storage_state.mons.items()]
    places += [(f"osd.{o.id}", o.public, public, "public") for o in storage_state.osds if o.up]
    places += [(f"osd.{o.id}", o.cluster, private, "cluster") for o in storage_state.osds if o.up]
    all_hold(
        f"{daemon} has {address or 'no address'} for its {kind} network, expected one in {network}"
        for daemon, address, network, kind in places
        if not address or ip_address(address) not in network
    )


@then("Ceph asks daemons, services and clients for keys and takes no insecure reclaim")
def _cephx(site: Site, storage_seen: Observation, storage_state: State) -> None:
    unknown = [f"{n}: {why}" for n, why in storage_state.unanswered.items() if n.startswith("auth ")]
    if unknown:
        raise UnknownError(f"what monitors run with could not be asked: {unknown[0]}")

    def findings() -> Iterator[str]:
        for node in site.nodes:
            conf = storage_seen.node(node.name).conf.get("global", {})
            running = storage_state.auth.get(node.name, {})
            for option in AUTH:
                filed, live = conf.get(option, "unset"), running.get(option, "")
                if filed != "cephx":
                    yield f"{node.name}: {option} is {filed} on file, expected cephx"
                if live and live != "cephx":
                    yield f"{node.name}: its monitor runs with {option} = {live}, expected cephx"
        if storage_state.options.get(RECLAIM) != "false":
            yield f"{RECLAIM} is {storage_state.options.get(RECLAIM, 'unknown')}, expected false"
        for key, value in storage_state.configured.items():
            if key.partition("/")[2] in AUTH and value != "cephx":
                yield f"{key} is set to {value} in Ceph's configuration"

    all_hold(findings())


@then("the cluster's id, the monitors' addresses and the administrator's key are in the parameter store")
def _saved(site: Site, storage_seen: Observation) -> None:
    want = {
        "fsid": digest(storage_seen.fsid),
        "mon_ips": digest(",".join(str(n.address) for n in site.nodes)),
    }

    def findings() -> Iterator[str]:
        for name in ("fsid", "mon_ips", "admin_key"):
            path = f"{site.aws.root}/ceph/{name}"
            if name not in storage_seen.saved:
                yield f"{path} is not in the parameter store"
            elif name in want and storage_seen.saved[name].digest != want[name]:
                yield f"{path} is not what is in force"

    all_hold(findings())


@then("the key is stored encrypted and is the one in force")
def _key(site: Site, storage_seen: Observation) -> None:
    saved = storage_seen.saved.get("admin_key")
    if saved is None:
        raise NotAsOrderedError(f"{site.aws.root}/ceph/admin_key is not there")

    def findings() -> Iterator[str]:
        if not saved.secret:
            yield f"{site.aws.root}/ceph/admin_key is stored in clear text"
        for node in site.nodes:
            if storage_seen.node(node.name).key != saved.digest:
                yield f"{node.name}: the key in force is not the one in the parameter store"

    all_hold(findings())


@then("no monitor's clock is off by more than Ceph tolerates")
def _skew(site: Site, storage_state: State, evidence: Run) -> None:
    allowed = float(storage_state.options.get("mon_clock_drift_allowed") or DRIFT_S)
    if "MON_CLOCK_SKEW" not in storage_state.checks and len(storage_state.skews) < len(site.nodes):
        # Monitors compare clocks every 300 s; before the first comparison they say nothing.
        evidence.note(
            f"clocks were compared for {len(storage_state.skews)} of {len(site.nodes)} monitors so far"
        )
    all_hold(
        [
            *(f"{mon}: its clock is off by {s:+.3f} s, Ceph tolerates {allowed:g} s"
              for mon, s in storage_state.skews.items() if abs(s) > allowed),
            *(f"{code}: {text}" for code, text in storage_state.checks.items() if code == "MON_CLOCK_SKEW"),
        ]
    )  # fmt: skip


@then("each kind of occupied drive would be refused, with what was found on it")
def _guard(site: Site, storage_seen: Observation, evidence: Run) -> None:
    """The site's own plan, with an occupied drive in the place of an ordered one: the plan itself refuses.

    That what is on a real drive is recognised, and stays untouched, is shown on images that real tools made
    (tests/provisioners/test_drive_images.py).
    """
    all_hold(guard.accepted(site, storage_seen))
    evidence.note(
        f"{len(guard.OCCUPIED)} kinds of occupied drive in the place of an ordered one: each refused"
    )


@then("no drive of the site that already serves would be written again")
def _not_again(site: Site, storage_seen: Observation) -> None:
    serving = {
        serial
        for name in storage_seen.seen
        for serial, verdict in storage_seen.verdicts(site, name).items()
        if verdict.kind == "ours"
    }
    if not serving:
        raise NotAsOrderedError("no drive serves")
    all_hold(
        f"{change.node}: {change.summary}"
        for change in missing(site, storage_seen)
        if serving & set(change.serials)
    )

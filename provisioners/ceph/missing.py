"""What phase 4 lacks: a pure function of the site and the observation.

Everything is listed at once, from the packages to the parameters, in the order in which it is applied. An
action `people` stands for what no program should put right by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cluster.units import parse_size
from provisioners.ceph import missing_pools
from provisioners.ceph.disks import Verdict
from provisioners.ceph.observation import NodeStorage, Observation, digest
from provisioners.ceph.order import MAJORS, PACKAGES, first, ordered, private, public, settings
from provisioners.ceph.state import AUTH, MODULE_FAILED, State
from provisioners.change import Change
from provisioners.unreachable import Unreachable

if TYPE_CHECKING:
    from cluster.site import Site

PEOPLE = "people"
UNITS = {"mon": "monitor", "mgr": "manager", "mds": "metadata server"}


def missing(site: Site, seen: Observation) -> list[Change]:
    """Every change that phase 4 lacks."""
    if site.ceph is None:
        return []
    unseen = [node for node in seen.nodes.values() if isinstance(node, Unreachable)]
    busy = [name for name, node in seen.seen.items() if node.busy]
    made = [
        *(
            Change(n.name, f"see its storage, which does not answer ({n.reason})", PEOPLE, blocks=True)
            for n in unseen
        ),
        *(Change(name, "wait for the OSD that is being made there", "wait") for name in busy),
        *_packages(site, seen),
        *_daemons(site, seen, "mon"),
        *_silent(site, seen),
    ]
    if seen.silent:  # monitors that do not answer tell neither what is there nor what is missing
        return made
    return [
        *made,
        *_authentication(site, seen),
        *_daemons(site, seen, "mgr"),
        *_handover(seen),
        *_settings(site, seen),
        *([] if busy else _osds(site, seen)),
        *missing_pools.pools(site, seen.state),
        *_daemons(site, seen, "mds"),
        *missing_pools.filesystem(site, seen.state),
        *missing_pools.storages(site, seen),
        *_parameters(site, seen),
        *_settled(site, seen),
    ]


def _packages(site: Site, seen: Observation) -> Iterator[Change]:
    table = ordered(site)
    major = MAJORS.get(table.release.lower())
    for name, node in seen.seen.items():
        absent = [package for package in PACKAGES if package not in node.packages]
        if absent:
            yield Change(name, f"install Ceph {table.release} ({', '.join(absent)} missing)", "packages")
            continue
        version = node.packages["ceph-common"].split(":")[-1]
        if major is not None and not version.startswith(f"{major}."):
            yield Change(
                name, f"move Ceph from {version} to {table.release}: an upgrade is for people", PEOPLE
            )
        elif table.repository != "manual" and node.repository not in {"", table.repository}:
            yield Change(name, f"take Ceph from {table.repository} (not {node.repository})", "packages")
    if not seen.fsid:
        networks = f"public {public(site)}, cluster {private(site)}"
        yield Change(first(site), f"begin a storage cluster ({networks})", "init")
    for name, node in seen.seen.items():
        conf = node.conf.get("global", {})
        want = {"public_network": public(site), "cluster_network": private(site)}
        wrong = {key: conf.get(key, "") for key, value in want.items() if conf.get(key, "") != value}
        if seen.fsid and conf and wrong:
            said = ", ".join(
                f"{key} is {value or 'unset'}, expected {want[key]}" for key, value in wrong.items()
            )
            yield Change(
                name, f"move the storage cluster to the ordered networks by hand ({said}):"
                " monitors cannot change their address while they serve", PEOPLE,
            )  # fmt: skip
            break  # the file is the same on every node


def _daemons(site: Site, seen: Observation, kind: str) -> Iterator[Change]:
    """A monitor, manager or metadata server on each node: make it, or start it."""
    if kind == "mds" and not ordered(site).filesystem:
        return
    for name, node in seen.seen.items():
        made = f"{kind}/ceph-{name}" in node.daemons
        known = kind != "mon" or name in (seen.state.mons if seen.state else _configured(node))
        unit = node.units.get(f"ceph-{kind}@{name}", "")
        if not made or not known:
            yield Change(name, f"make a {UNITS[kind]}", f"{kind}s")
        elif unit != "active":
            yield Change(name, f"start the {UNITS[kind]} (it is {unit or 'not known to systemd'})", "start")
        elif kind == "mon" and seen.state is not None and name not in seen.state.quorum:
            yield Change(name, "wait until its monitor is in the quorum", "start")


def _configured(node: NodeStorage) -> set[str]:
    """Monitors that the configuration on file knows."""
    return {section.removeprefix("mon.") for section in node.conf if section.startswith("mon.")}


def _silent(site: Site, seen: Observation) -> Iterator[Change]:
    if seen.silent:
        why = f"have the monitors answer ({seen.silent})"
        yield Change(first(site), why, "answer", blocks=True)


def _authentication(site: Site, seen: Observation) -> Iterator[Change]:
    """CephX, as the configuration on file and in the monitors' own store has it."""
    for name, node in seen.seen.items():
        conf = node.conf.get("global", {})
        off = [f"{key} = {conf[key]}" for key in AUTH if conf.get(key, "cephx") != "cephx"]
        if off:
            yield Change(
                name, f"switch keys on again in /etc/pve/ceph.conf ({', '.join(off)}): every daemon and"
                " client has to be started anew with its key, one by one, by people", PEOPLE,
            )  # fmt: skip
            break
    for key, value in (seen.state.configured if seen.state else {}).items():
        section, _, option = key.partition("/")
        if option in AUTH and value != "cephx":
            yield Change(
                first(site), f"take back {option} = {value} ({section}) from Ceph's configuration", "settings"
            )


def _same(want: str, have: str) -> bool:
    if want == have:
        return True
    try:
        return float(want) == float(have)
    except ValueError:
        pass
    try:
        return parse_size(want) == int(have)
    except (ValueError, TypeError):
        return want.lower() == have.lower()


def _settings(site: Site, seen: Observation) -> Iterator[Change]:
    state = seen.state
    options = state.options if state is not None else {}
    for key, want in settings(site).items():
        option = key.partition("/")[2]
        have = options.get(option, options.get(key, ""))
        if not _same(want, have):
            yield Change(first(site), f"set {option} to {want} (it is {have or 'unset'})", "settings")
    nearfull = ordered(site).nearfull_ratio
    if state is not None and state.nearfull and abs(state.nearfull - nearfull) > 1e-6:
        yield Change(
            first(site), f"set the nearfull ratio to {nearfull:g} (it is {state.nearfull:g})", "settings"
        )
    if state is None:
        return
    for flag in state.flags:
        yield Change(first(site), f"unset the flag {flag}", "settings")
    for code in state.muted:
        yield Change(first(site), f"unmute {code}", "settings")


def _handover(seen: Observation) -> Iterator[Change]:
    """A module that failed stays so for as long as its manager is active; another manager loads it anew."""
    state = seen.state
    if state is not None and state.mgr and MODULE_FAILED in state.checks:
        yield Change(state.mgr, f"hand over to another manager ({state.checks[MODULE_FAILED]})", "handover")


def _osds(site: Site, seen: Observation) -> Iterator[Change]:
    table, state = ordered(site), seen.state
    stood: dict[int, str] = {}
    for name in seen.seen:
        for serial, verdict in seen.verdicts(site, name).items():
            if verdict.osd is not None:
                stood[verdict.osd] = serial
            yield from _drive(site, seen, name, serial, verdict)
    if state is None:
        return
    everybody = not any(isinstance(node, Unreachable) for node in seen.nodes.values())
    on_nodes = {v.osd for n in seen.seen.values() for d in n.drives for v in d.volumes}
    for osd in state.osds:
        if osd.id not in on_nodes and everybody and not osd.destroyed:
            if osd.new:
                yield Change(
                    first(site), f"take back the id of osd.{osd.id}, which never came to be", "purge"
                )
            else:
                yield Change(first(site), f"see to osd.{osd.id}, which stands on no ordered drive", PEOPLE)
        elif osd.id in stood and osd.up and osd.device_class != table.device_class:
            have = osd.device_class or "none"
            yield Change(
                osd.host or first(site),
                f"give osd.{osd.id} the device class {table.device_class} (it has {have})",
                "class",
            )


def _drive(site: Site, seen: Observation, name: str, serial: str, verdict: Verdict) -> Iterator[Change]:
    """What one ordered data drive lacks."""
    table = ordered(site)
    drive = seen.node(name).drive(serial)
    path = drive.path if drive is not None else "absent"
    how = f"class {table.device_class}" + (", encrypted" if table.encrypted else "")
    if verdict.kind == "absent":
        yield Change(name, f"put in data drive {serial}: the node does not see it", PEOPLE)
    elif verdict.kind == "occupied":
        yield Change(
            name, f"make an OSD of drive {serial} ({path}; {how})", "osds",
            destroys=verdict.what, serials=(serial,), when_wiped="wipe",
        )  # fmt: skip
    elif verdict.kind == "blank":
        yield Change(name, f"make an OSD of drive {serial} ({path}; {how})", "osds", serials=(serial,))
    elif verdict.kind == "unfinished":
        yield Change(
            name, f"finish or begin anew drive {serial} ({verdict.what})", "finish", serials=(serial,)
        )
    else:
        yield from _serving(seen, name, serial, verdict)


def _serving(seen: Observation, name: str, serial: str, verdict: Verdict) -> Iterator[Change]:
    osd = next((o for o in seen.state.osds if o.id == verdict.osd), None) if seen.state is not None else None
    unit = seen.node(name).units.get(f"ceph-osd@{verdict.osd}", "")
    if unit != "active" or (osd is not None and not osd.up):
        yield Change(name, f"start osd.{verdict.osd} on drive {serial}", "start")
    if osd is not None and not osd.inside:
        yield Change(name, f"take osd.{verdict.osd} in again", "in")


def _parameters(site: Site, seen: Observation) -> Iterator[Change]:
    """What the parameter store lacks. The key itself is never seen here, only its digest."""
    node = next((n for n in seen.seen.values() if n.key), None)
    want = {
        "fsid": seen.fsid,
        "mon_ips": ",".join(str(n.address) for n in site.nodes),
        "admin_key": None,
    }
    for name, value in want.items():
        true = digest(value) if value is not None else node.key if node is not None else ""
        saved = seen.saved.get(name)
        if saved is None or saved.digest != true or (name == "admin_key" and not saved.secret):
            yield Change(first(site), f"save {site.aws.root}/ceph/{name}", "parameters")


def _settled(site: Site, seen: Observation) -> Iterator[Change]:
    state: State | None = seen.state
    if state is None:
        return
    damaged = {name: n for name, n in state.unclean.items() if "inconsistent" in name}
    if damaged:
        yield Change(
            first(site), "repair the placement groups whose replicas differ, by people: look at them with"
            " rados list-inconsistent-obj before ceph pg repair overwrites one", PEOPLE,
        )  # fmt: skip
    elif state.unclean:
        yield Change(first(site), "wait until every placement group is active and clean", "settle")


__all__ = ["PEOPLE", "NodeStorage", "missing"]

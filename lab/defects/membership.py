"""Defects of the cluster's membership: rings, addresses, votes, clocks, what is left of a former node."""

from __future__ import annotations

from lab import servers
from lab.defects.defect import Defect, Memory, Place
from lab.defects.nodes import aside, put_back, replace, shell
from lab.defects.scenarios import (
    HEALTH,
    KEPT,
    MON_CLOCKS,
    NAMES_AND_TIME,
    RING_CLOCKS,
    ROUND_TRIP,
    SAME,
    STRANGERS,
    TWO_NETWORKS,
    VOTES,
)
from lab.errors import LabError

RING = "m0"
"""The port to the management switch, which carries the second ring."""
CONF = "/etc/pve/corosync.conf"
STALE = "node9"
SKEW_S = 0.5
_FOLLOW = "systemctl restart chrony; sleep 8; chronyc -a makestep > /dev/null; sleep 2"
_NEXT_VERSION = (
    "sed -e {change} {conf} | cmp -s - {conf} && exit;"  # as it is to be already: no new version
    " old=$(sed -n 's/^ *config_version: *//p' {conf});"
    ' sed -e "s/config_version: *$old/config_version: $((old + 1))/" -e {change} {conf} > {conf}.new;'
    " mv {conf}.new {conf}; sleep 5"
)


def _edit(place: Place, change: str) -> None:
    """A new version of the cluster's configuration, as an operator edits it; `change` is of sed."""
    shell(place, _NEXT_VERSION.format(conf=CONF, change=f"'{change}'"))


def _of_node(place: Place, change: str) -> str:
    return f"/name: {place.target}$/,/}}/{change}"


def _pull(place: Place) -> Memory:
    servers.set_link(place.target, RING, False, "cable", place.rack, place.state)
    return {}


def _push(place: Place, _: Memory) -> None:
    servers.set_link(place.target, RING, True, "cable", place.rack, place.state)


def _wrong_address(place: Place) -> Memory:
    """The node whose address it is refuses the new version, so that none is in force everywhere."""
    line = shell(place, f"sed -n '{_of_node(place, 's/^ *ring1_addr: *//p')}' {CONF}").strip()
    _edit(place, _of_node(place, f"s/ring1_addr: .*/ring1_addr: {line.rpartition('.')[0]}.99/"))
    return {"address": line}


def _right_address(place: Place, memory: Memory) -> None:
    if "address" in memory:
        _edit(place, _of_node(place, f"s/ring1_addr: .*/ring1_addr: {memory['address']}/"))


def _no_vote(place: Place) -> Memory:
    _edit(place, _of_node(place, "s/quorum_votes: .*/quorum_votes: 0/"))
    return {}


def _vote(place: Place, _: Memory) -> None:
    _edit(place, _of_node(place, "s/quorum_votes: .*/quorum_votes: 1/"))


def _skew(place: Place) -> Memory:
    """chrony believes a source that is wrong: it says that all is well."""
    file = shell(place, "grep -lrE '^(server|pool) ' /etc/chrony | head -n 1").strip()
    if not file:
        raise LabError(f"{place.target}: chrony names no time server")
    wrong = f"sed -E 's/^((server|pool) .*)/\\1 offset {SKEW_S}/' {aside(file)} > {file}"
    replace(place, file, f"{wrong}; {_FOLLOW}")
    return {"file": file}


def _in_step(place: Place, memory: Memory) -> None:
    if "file" in memory:
        put_back(place, memory["file"])
        shell(place, _FOLLOW)


def _left_over(place: Place) -> Memory:
    shell(place, f"mkdir -p /etc/pve/nodes/{STALE}/qemu-server /etc/pve/nodes/{STALE}/lxc")
    return {}


def _swept(place: Place, _: Memory) -> None:
    shell(place, f"cd /etc/pve/nodes; for each in {STALE}/qemu-server {STALE}/lxc {STALE}; do"
          " [ ! -e $each ] || rmdir $each; done")  # fmt: skip


DEFECTS = (
    Defect("ring-1-down", "the cable to the management switch is out", (TWO_NETWORKS, ROUND_TRIP),
           _pull, _push, "node", "node2"),
    Defect("wrong-ring-address", "the cluster's configuration gives a node an address that is not its own",
           (TWO_NETWORKS, SAME, KEPT), _wrong_address, _right_address, "node", "node3"),
    Defect("missing-vote", "a node is a member and has no vote", (VOTES, KEPT),
           _no_vote, _vote, "node", "node2"),
    Defect("clock-skew", f"a node's time source is {SKEW_S} s off",
           (RING_CLOCKS, MON_CLOCKS, NAMES_AND_TIME, HEALTH),
           _skew, _in_step, "node", "node3"),
    Defect("stale-node-entry", "a node that was never ordered has a folder in the cluster's files",
           (STRANGERS,), _left_over, _swept, "node", "node1"),
)  # fmt: skip

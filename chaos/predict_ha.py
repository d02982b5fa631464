"""Times that the HA manager's rules and the nodes' live configuration imply, from the loss of a node until
its guests answer elsewhere. Pure.

Sources: pve-ha-manager 5 (`NodeStatus`: a node counts as lost for 60 s before its guests wait for fencing;
`LRM`, `CRM`: rounds of 10 s, members are read before the lock is refreshed; `watchdog-mux`: a client that is
silent for 60 s is no longer fed for), pmxcfs (a lock that is not refreshed expires after 120 s; whoever has
the lowest id says so, `dcdb_deliver`, and counts from its own start, `memdb_open`), corosync.conf(5) (token,
consensus), and the simulator's own tests: recovery 120 to 135 s after the loss of a plain node, 165 to 185 s
where the lost node was master.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from chaos.predict import Prediction
from cluster.errors import UnknownError

ROUND_S = 10.0
"""The managers look so often."""
FENCE_DELAY_S = 60.0
"""A node must have been gone for so long before its guests wait for its fencing."""
CLIENT_S = 60.0
"""watchdog-mux stops feeding the watchdog once a manager said nothing for so long."""
LOCK_S = 120.0
"""A lock that nobody refreshed has expired."""
TAKEOVER_S = (100.0, 120.0)
"""Another node becomes master once the old one's lock has expired; it was refreshed up to 20 s ago."""
PLAIN_S = (120.0, 135.0)
MASTER_S = (165.0, 185.0)
START_S = 30.0
"""A golden guest counts within so long after the order to start it."""
MOUNT_S = 42.0
"""A container's ext4 has multi-mount protection, as Proxmox VE makes it. Where nobody unmounted it, a mount
looks on for twice 21 s (fs/ext4/mmp.c, interval of 10 s) to see whether another node writes."""
_VALUE = re.compile(r"^(\S+)(?: \(\w+\))? = (\d+(?:\.\d+)?)$", re.M)
_NAME = re.compile(r"^nodelist\.node\.(\d+)\.name \(str\) = (\S+)$", re.M)
_SETTINGS = ("runtime.config.totem.token", "runtime.config.totem.consensus")


@dataclass(frozen=True)
class HaTimes:
    """Seconds as configured now: Corosync's token and consensus timeouts, and after how long the watchdog of
    each node resets it that is no longer fed. `lowest`: the node with the lowest id.
    """

    token_s: float
    consensus_s: float
    watchdog_s: float
    lowest: str


COMMAND = """\
corosync-cmapctl runtime.config.totem. 2>/dev/null
corosync-cmapctl nodelist.node. 2>/dev/null
for dog in /sys/class/watchdog/watchdog*; do
  [ -r "$dog/state" ] && read -r state < "$dog/state" && [ "$state" = active ] || continue
  read -r timeout < "$dog/timeout" && echo "watchdog = $timeout"
done
:
"""
"""Tells on a node what `parse` reads."""


def parse(text: str) -> HaTimes:
    """What `COMMAND` told. Several active watchdogs: the slowest counts. Raises `UnknownError` where a value
    is missing or is no number.
    """
    told: dict[str, list[float]] = {}
    for name, value in _VALUE.findall(text):
        told.setdefault(name, []).append(float(value))
    names = dict(_NAME.findall(text))
    nodes = {ids[0]: names[each] for each in names if (ids := told.get(f"nodelist.node.{each}.nodeid"))}
    lacking = [name for name in (*_SETTINGS, "watchdog") if name not in told]
    if not nodes:
        lacking.append("nodelist.node.0.nodeid and its name")
    if lacking:
        raise UnknownError(f"the node does not tell {', '.join(lacking)}: expected a number for each")
    token, consensus = (told[name][-1] / 1000 for name in _SETTINGS)
    return HaTimes(token, consensus, max(told["watchdog"]), nodes[min(nodes)])


def membership(times: HaTimes) -> Prediction:
    """From the loss of a node until Corosync's other members have agreed that it is gone."""
    return Prediction(
        times.token_s,
        times.token_s + 2 * times.consensus_s,
        f"token {times.token_s:g} s, consensus {times.consensus_s:g} s",
    )


def detected(times: HaTimes, *, master: bool) -> Prediction:
    """Until the HA manager no longer counts the node as online. Where it was the master, nobody counts until
    another one leads.
    """
    gone = membership(times)
    if master:
        least, most = TAKEOVER_S
        why = f"it was master: its lock expires after {least:g} s to {most:g} s"
        return Prediction(least, most + (gone.most_s or 0.0) + ROUND_S, f"{why}, then a round")
    return Prediction(
        gone.least_s, (gone.most_s or 0.0) + ROUND_S, f"{gone.why}, then a round of {ROUND_S:g} s"
    )


def fenced(times: HaTimes, *, master: bool) -> Prediction:
    """Until its guests wait for its fencing."""
    seen = detected(times, master=master)
    # A look that begins before the membership changes and ends after it counts the node as online. Where
    # Corosync is quicker than a round there may be none: the patience began with the look before.
    early = ROUND_S if not master and times.token_s < ROUND_S else 0.0
    return Prediction(
        seen.least_s + FENCE_DELAY_S - early,
        (seen.most_s or 0.0) + FENCE_DELAY_S + ROUND_S,
        f"{seen.why}, then {FENCE_DELAY_S:g} s of patience",
    )


def restarted(
    times: HaTimes, *, master: bool, containers: bool = False, counts_anew: bool = False
) -> Prediction:
    """Until its guests are begun elsewhere: its lock has expired and they wait for its fencing. A slow
    Corosync makes it later, never sooner. `containers`: there are some among them, which are mounted first.
    `counts_anew`: it starts again by itself and has the lowest id; back before its lock has expired, it says
    when that is, and counts from its own start.
    """
    least, most = MASTER_S if master else PLAIN_S
    wait = fenced(times, master=master)
    who = "it was master" if master else "it was not master"
    # The range of a lost master holds the wait for its lock, which a slow Corosync does not lengthen.
    slow = (0.0, 0.0) if master else (wait.least_s, (wait.most_s or 0.0) + ROUND_S)
    why = f"{who}, so {least:g} s to {most:g} s: the lock of a lost node expires after {LOCK_S:g} s"
    longer = 0.0
    if counts_anew:
        longer, why = LOCK_S, f"{why}; back before that, it has the lowest id and counts them anew"
    if containers:
        longer, why = longer + MOUNT_S, f"{why}; for {MOUNT_S:g} s more a container's mount looks on"
    return Prediction(max(least, slow[0]), max(most, slow[1]) + longer, why)


def answering(
    times: HaTimes, *, master: bool, containers: bool = False, counts_anew: bool = False
) -> Prediction:
    """Until its guests answer: begun elsewhere, and started. The rest as in `restarted`."""
    begun = restarted(times, master=master, containers=containers, counts_anew=counts_anew)
    return Prediction(
        begun.least_s, (begun.most_s or 0.0) + START_S, f"{begun.why}; the guest's start up to {START_S:g} s"
    )


def self_reset(times: HaTimes) -> Prediction:
    """Until a node without quorum is reset by its watchdog: the managers spoke to it up to a round before."""
    gone = membership(times)
    return Prediction(
        CLIENT_S - ROUND_S,
        (gone.most_s or 0.0) + CLIENT_S + times.watchdog_s,
        f"its managers are waited for {CLIENT_S:g} s, then the watchdog bites within {times.watchdog_s:g} s",
    )


def bite(times: HaTimes) -> Prediction:
    """Until a kernel that stands still is reset."""
    return Prediction(0.0, times.watchdog_s, f"the watchdog is set to {times.watchdog_s:g} s")


def started_anew(
    times: HaTimes, *, master: bool, dead: Prediction, containers: bool = False, counts_anew: bool = False
) -> Prediction:
    """Until guests answer whose node starts anew by itself, once it is `dead`:
    there, where it is back before its guests wait for its fencing, else elsewhere. The rest is `restarted`'s.
    """
    elsewhere = answering(times, master=master, containers=containers, counts_anew=counts_anew)
    return Prediction(
        dead.least_s, (elsewhere.most_s or 0.0) + (dead.most_s or 0.0),
        f"on the same node where that is back first, else elsewhere ({elsewhere.why})",
    )  # fmt: skip


def guest_crashed() -> Prediction:
    """Until a guest answers whose process was killed: its node's manager sees it in its next round."""
    return Prediction(
        0.0, 2 * ROUND_S + START_S, f"a round of {ROUND_S:g} s to see it, one to act, and its start"
    )


def was_master(master: str | None, lost: Collection[str]) -> bool:
    """Whether the HA manager's master is among the lost nodes."""
    return master is not None and master in lost

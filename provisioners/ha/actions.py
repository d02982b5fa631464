# ruff: noqa: ARG002  (an action takes what every action is given)
"""Watchdog, services, policy, resources and rules: how each is made as ordered, and taken back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cluster.errors import DeadlineError, RefusedError
from provisioners.ansible import play
from provisioners.change import Change, Progress
from provisioners.ha.manager import POLICY, Manager, look
from provisioners.ha.missing import COMPETITORS
from provisioners.ha.observation import MUX, SERVICES
from provisioners.ha.order import RULE, managed, nodes_text, ordered, resource, rules

if TYPE_CHECKING:
    from cluster.cluster import Cluster

SETTLE_S = 900.0
REVIVE_S = 120.0
POLL_S = 2.0
SAVED = "/var/lib/rackproof/saved/phase7"
# The BMC's timer shall cut the power, and shall run on while a panicking kernel writes its dump.
OPTIONS = {"ipmi_watchdog": "action=power_cycle panic_wdt_timeout=10"}
_IN_USE = "[ -e /run/watchdog-mux.active ]"
_KEEP = 'mkdir -p -m 700 %s; [ -e %s ] || printf "%%s\\n" %s > %s'


def names(changes: Sequence[Change]) -> list[str]:
    """The nodes of changes, each once."""
    return list(dict.fromkeys(change.node for change in changes))


def first(cluster: Cluster) -> str:
    """The node on which what concerns the whole cluster is done."""
    return cluster.site.nodes[0].name


@dataclass(frozen=True)
class Watchdog:
    """Action `watchdog`: the module that watchdog-mux loads; its competitors stopped. One node at a time.

    watchdog-mux never closes a watchdog that somebody counts on. Where guests are kept on the node, the new
    one comes into force when the node starts again.
    """

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        module = ordered(cluster.site).watchdog_module
        waiting = []
        for name in names(changes):
            used = cluster.nodes[name].run(_IN_USE, check=False).ok
            variables = {
                "ha_watchdog_module": module,
                "ha_watchdog_options": OPTIONS.get(module, ""),
                "ha_watchdog_restart": not used,
                "ha_competitors": list(COMPETITORS),
            }
            play(cluster, "ha", [name], variables, progress)
            if used:
                waiting.append(name)
        if waiting:
            raise RefusedError(
                f"{', '.join(waiting)}: the watchdog {module} is chosen, and the one of before is in use:"
                " put the node into maintenance, restart it, end the maintenance, and run again"
            )

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """What is loaded stays so until the node starts again."""
        play(cluster, "ha", names(changes), {}, progress, tasks_from="undo")


@dataclass(frozen=True)
class Services:
    """Action `services`: what Proxmox VE's HA is made of runs and starts at boot."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        kept = look(cluster, first(cluster)).resources
        services = [name for name in SERVICES if kept or f"{name}.service" != MUX]
        play(cluster, "ha", names(changes), {"ha_services": services}, progress, tasks_from="services")

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """They are Proxmox VE's own and stay."""


@dataclass(frozen=True)
class Policy:
    """Action `policy`: what becomes of the guests of a node that is shut down."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        node = first(cluster)
        before = look(cluster, node).policy
        file = f"{SAVED}/shutdown_policy"
        cluster.nodes[node].run(_KEEP, SAVED, file, before, file)
        want = ordered(cluster.site).shutdown_policy
        cluster.pve[node].call("put", "cluster/options", ha=f"shutdown_policy={want}")
        progress(f"{node}: guests of a node that is shut down: {want} (it was {before})")

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        node = first(cluster)
        before = cluster.nodes[node].run("cat %s 2>/dev/null", f"{SAVED}/shutdown_policy", check=False)
        if not before.ok:
            return
        text = before.stdout.strip()
        values = {"delete": "ha"} if text == POLICY else {"ha": f"shutdown_policy={text}"}
        cluster.pve[node].call("put", "cluster/options", **values)
        cluster.nodes[node].run("rm -f %s", f"{SAVED}/shutdown_policy")


@dataclass(frozen=True)
class Resources:
    """Action `resources`: which guests the HA manager keeps, and with how much patience."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        site, node = cluster.site, first(cluster)
        api = cluster.pve[node]
        have = look(cluster, node).resources
        for guest in site.guests:
            if guest.ha is None:
                if guest.sid in have:
                    api.call("delete", f"cluster/ha/resources/{guest.sid}")
                continue
            want = resource(guest.ha)
            if guest.sid not in have:
                progress(f"{node}: the HA manager keeps {guest.name} ({guest.sid})")
                api.call("post", "cluster/ha/resources", sid=guest.sid, **want)
            elif any(have[guest.sid][key] != value for key, value in want.items()):
                progress(f"{node}: sets {guest.sid} right")
                api.call("put", f"cluster/ha/resources/{guest.sid}", **want)

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """The guests go on; nobody keeps them."""
        node = first(cluster)
        have = look(cluster, node).resources
        for guest in cluster.site.guests:
            if guest.sid in have:
                cluster.pve[node].call("delete", f"cluster/ha/resources/{guest.sid}")


@dataclass(frozen=True)
class Rules:
    """Action `rules`: which nodes each guest prefers."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        node = first(cluster)
        api = cluster.pve[node]
        have = look(cluster, node).rules
        wanted = rules(cluster.site)
        for name in [each for each in have if each.startswith(RULE)]:
            if name not in wanted or have[name].kind != "node-affinity":
                api.call("delete", f"cluster/ha/rules/{name}")
        for name, rule in wanted.items():
            nodes = nodes_text(rule["nodes"])
            values = {"resources": rule["resource"], "nodes": nodes, "strict": rule["strict"]}
            progress(f"{node}: {rule['resource']} prefers {nodes}")
            if name in have and have[name].kind == "node-affinity":
                surplus = "disable" if have[name].disabled else None
                path = f"cluster/ha/rules/{name}"
                api.call("put", path, type="node-affinity", delete=surplus, **values)
            else:
                api.call("post", "cluster/ha/rules", rule=name, type="node-affinity", **values)

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        node = first(cluster)
        for name in [each for each in look(cluster, node).rules if each.startswith(RULE)]:
            cluster.pve[node].call("delete", f"cluster/ha/rules/{name}")


class Passing:
    """An action that leaves nothing to take back."""

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Revive(Passing):
    """Action `revive`: the manual's way out of `error`: disabled first, then as ordered again."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        node = first(cluster)
        api = cluster.pve[node]
        for guest, policy in managed(cluster.site):
            seen = look(cluster, node).services.get(guest.sid)
            if seen is None or seen.state != "error":
                continue
            progress(f"{node}: {guest.name} was given up; it is disabled and taken up again")
            path = f"cluster/ha/resources/{guest.sid}"
            api.call("put", path, state="disabled")
            wait_manager(cluster, partial(_given_up, guest.sid), REVIVE_S, "it was not disabled")
            api.call("put", path, state=policy.state)


@dataclass(frozen=True)
class Settle(Passing):
    """Action `settle`: waits until the manager has brought its resources to where they are ordered."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        want = {
            guest.sid: policy.state
            for guest, policy in managed(cluster.site)
            if policy.state in {"started", "stopped"}
        }

        def lacking(told: Manager) -> str:
            late = {sid: _state(told, sid) for sid, state in want.items() if _state(told, sid) != state}
            return ", ".join(f"{sid} is {state or 'unknown'}" for sid, state in late.items())

        progress(f"waiting for the HA manager (at most {SETTLE_S:.0f} s)")
        wait_manager(cluster, lacking, SETTLE_S, "the HA manager had not brought its resources about")


def _given_up(sid: str, told: Manager) -> str:
    return f"{sid} is in error" if _state(told, sid) == "error" else ""


def _state(told: Manager, sid: str) -> str:
    return told.services[sid].state if sid in told.services else ""


def wait_manager(cluster: Cluster, lacking: Callable[[Manager], str], deadline_s: float, what: str) -> None:
    """Asks the manager until `lacking` returns "". Raises DeadlineError with what it says."""
    until = time.monotonic() + deadline_s
    while said := lacking(look(cluster, first(cluster))):
        if time.monotonic() > until:
            raise DeadlineError(f"{what} within {deadline_s:.0f} s: {said}")
        time.sleep(POLL_S)

"""A round of the manager: look at nodes and guests, judge, tell Pacemaker, write down (PVE::HA::Manager)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from ..config.members import Cluster
from ..http.machine import Machine
from . import files, locks, pacemaker, resources, rules, services
from .cib import SHUTDOWN_POLICIES, Order
from .locks import HaLock
from .nodestates import NodeStates, Say
from .pacemaker import Guest, Seen
from .resources import Resources

COMMAND = re.compile(r"(migrate|relocate)\s+(\S+)\s+(\S+)|(enable|disable)-node-maintenance\s+(\S+)")


def shutdown_policy(machine: Machine) -> str:
    """What datacenter.cfg says of guests of a node that is shut down; `conditional` where it says nothing."""
    found = re.search(r"^ha:.*\bshutdown_policy=(\w+)", machine.read("/etc/pve/datacenter.cfg"), re.M)
    return found[1] if found and found[1] in SHUTDOWN_POLICIES else SHUTDOWN_POLICIES[0]


class Manager:
    """What the master of the cluster knows; taken over from whoever was master before."""

    def __init__(self, machine: Machine, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        old = files.manager_status(machine)
        self._machine = machine
        self._say = say
        self._clock = clock
        self._nodes = NodeStates(old.get("node_status", {}), say)
        self._services: dict[str, services.Status] = dict(old.get("service_status", {}))
        self._requests: dict[str, dict[str, Any]] = dict(old.get("node_request", {}))

    @property
    def idle(self) -> bool:
        """Nothing is left to look after."""
        return not self._services

    def manage(self, cluster: Cluster) -> None:
        """One round, with the members as they were when it began. ApiError where Pacemaker refuses the order,
        or /etc/pve the status.
        """
        machine = self._machine
        online = {member.name: member.online for member in cluster.members}
        if not cluster.quorate or not online.get(machine.node):
            self._say("master seems offline")
            return
        modes = {name: files.lrm_status(machine, name).get("mode", "active") for name in online}
        seen = pacemaker.seen(machine)
        self._nodes.update(self._clock(), online, modes, seen)
        for node in self._nodes.acknowledged:
            HaLock(machine, locks.agent(node)).release()  # a node that was started anew may take part again
        if seen is not None:
            known = resources.read(machine)
            self._renew(known)
            self._obey(files.take_commands(machine))
            self._advance(known, seen, modes)
            # The status is written when Pacemaker has taken this: nodes that read that nothing is left to
            # look after stop theirs.
            pacemaker.tell(machine, self._order(cluster, known, modes))
        self._write()

    def _order(self, cluster: Cluster, known: Resources, modes: dict[str, str]) -> Order:
        return Order(
            nodes={member.name: member.nodeid for member in cluster.members},
            resources=known,
            rules=rules.feasible(rules.read(self._machine), len(cluster.members)),
            services=self._services,
            standby=frozenset(node for node, asked in self._requests.items() if asked.get("maintenance")),
            shutdown_policy=shutdown_policy(self._machine),
            powering_off="shutdown" in modes.values(),
        )

    def _renew(self, known: Resources) -> None:
        """New services, and those that are no longer HA's."""
        places = resources.guests(self._machine)
        for sid, one in sorted(known.items()):
            if one.managed and sid not in self._services and one.vmid in places:
                node = places[one.vmid][0]
                self._say(f"adding new service '{sid}' on node '{node}'")
                self._services[sid] = services.added(one, node)
        for sid in sorted(self._services):
            if sid not in known or not known[sid].managed:
                reason = "ignored state requested" if sid in known else "no config"
                self._say(f"removing stale service '{sid}' ({reason})")
                del self._services[sid]

    def _obey(self, commands: list[str]) -> None:
        for command in commands:
            match = COMMAND.fullmatch(command.strip())
            if match is None:
                self._say(f"unable to parse crm command: {command}")
            elif match[1]:
                self._move(command, match[1], match[2], match[3])
            else:
                self._say(f"got crm command: {command}")
                self._requests.setdefault(match[5], {})["maintenance"] = int(match[4] == "enable")

    def _move(self, command: str, task: str, sid: str, node: str) -> None:
        service = self._services.get(sid)
        if service is None:
            self._say(f"crm command error - no such service: {command}")
        elif node not in self._nodes.at("online"):
            self._say(f"crm command error - node not online: {command}")
        elif service["node"] == node:
            self._say(f"ignore crm command - service already on target node: {command}")
        else:
            self._say(f"got crm command: {command}")
            service["cmd"] = [task, node]

    def _advance(self, known: Resources, seen: Seen, modes: dict[str, str]) -> None:
        nodes = services.Nodes(self._nodes.states, modes)
        for sid, old in self._services.items():
            new = services.advanced(old, known[sid], seen.guests.get(sid, Guest()), nodes, self._say)
            if old["state"] == "error" != new["state"]:
                pacemaker.forget_failures(self._machine, sid)
            self._services[sid] = new

    def _write(self) -> None:
        status = {
            "master_node": self._machine.node,
            "timestamp": int(time.time()),
            "node_status": self._nodes.states,
            "service_status": self._services,
        }
        if self._requests:
            status["node_request"] = self._requests
        files.write_manager_status(self._machine, status)

"""Pacemaker's own scheduler on a CIB that the translation made: `crm_simulate`, no daemon, no privilege."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lab.standins.proxmox.daemon.ha import cib, pacemaker
from lab.standins.proxmox.daemon.ha.cib import Order
from lab.standins.proxmox.daemon.ha.pacemaker import Seen

TOOLS = ("crm_simulate", "crm_verify", "crm_mon")
needs_tools = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS),
    reason="no Pacemaker on this machine (package pacemaker-cli-utils)",
)
EMPTY = "<configuration><crm_config/><nodes/><resources/><constraints/></configuration>"
MEANT = ("configured not to stop active orphans", "due to lack of quorum")
STATE = '<node_state id="{id}" uname="{name}" in_ccm="true" crmd="online" join="member" expected="member"/>'


class Simulated:
    """A cluster of which only the scheduler is real; every node is up at the beginning."""

    def __init__(self, folder: Path, order: Order) -> None:
        self._file = folder / "cib.xml"
        states = "".join(STATE.format(id=number, name=name) for name, number in order.nodes.items())
        self._file.write_text(
            '<cib validate-with="pacemaker-3.9" crm_feature_set="3.16.1" admin_epoch="0" epoch="1"'
            ' num_updates="0" have-quorum="1">'
            f"{EMPTY}<status>{states}</status></cib>"
        )
        self.order(order)

    def order(self, order: Order) -> Seen:
        """Give the order, let the scheduler carry it out, and look."""
        tree = ET.parse(self._file)
        root = tree.getroot()
        live = root.find("configuration")
        assert live is not None
        wanted = cib.merged(ET.tostring(live, encoding="unicode"), order)
        if wanted is not None:
            live[:] = ET.fromstring(wanted)[:]
            tree.write(self._file)
        self._verify()
        return self.happens()

    def _verify(self) -> None:
        """Nothing is wrong with the CIB but what a test brings about on purpose."""
        said = subprocess.run(
            ["crm_verify", "--verbose", "--verbose", "--xml-file", str(self._file)],
            capture_output=True, text=True, timeout=60, check=False,
        ).stderr  # fmt: skip
        wrong = [line for line in said.splitlines() if "\twarning:" in line or "\terror:" in line]
        assert not [line for line in wrong if not any(text in line for text in MEANT)], said

    def happens(self, *events: str) -> Seen:
        """Events in crm_simulate's words, such as `--node-fail=node1`; what the scheduler makes of them."""
        self.actions = self._run(
            "crm_simulate", "--simulate", "--xml-file", str(self._file), "--save-output", str(self._file),
            *events,
        )  # fmt: skip
        return self.seen()

    def quorum(self, have: bool) -> None:
        """Corosync's word from now on."""
        tree = ET.parse(self._file)
        tree.getroot().set("have-quorum", str(int(have)))
        tree.write(self._file)

    def shut_down(self, node: str) -> Seen:
        """Pacemaker ends on a node in order: it stops what runs there, then it is no member any more."""
        return self._noted(node, {"shutdown": int(time.time())})

    def failed(self, resource: str, node: str, times: int) -> Seen:
        """A start of a resource (by Pacemaker's name) failed on a node so many times."""
        counts = {
            f"fail-count-{resource}#start_0": times,
            f"last-failure-{resource}#start_0": int(time.time()),
        }
        return self._noted(node, counts)

    def _noted(self, node: str, values: dict[str, int]) -> Seen:
        """Attributes as Pacemaker notes them for a node while it runs."""
        tree = ET.parse(self._file)
        (state,) = tree.iterfind(f"status/node_state[@uname='{node}']")
        for old in state.findall("transient_attributes"):
            state.remove(old)
        transient = ET.SubElement(state, "transient_attributes", id=str(state.get("id")))
        group = ET.SubElement(transient, "instance_attributes", id=f"status-{node}")
        for number, (name, value) in enumerate(values.items()):
            ET.SubElement(group, "nvpair", id=f"status-{node}-{number}", name=name, value=str(value))
        tree.write(self._file)
        return self.happens()

    def seen(self) -> Seen:
        said = self._run("crm_mon", "--one-shot", "--output-as=xml", CIB_file=str(self._file))
        return pacemaker.parse(said)

    def where(self) -> dict[str, str]:
        """The node of each guest, "" where it does not run."""
        return {sid: guest.node for sid, guest in self.seen().guests.items()}

    @staticmethod
    def _run(*command: str, **environment: str) -> str:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | environment,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
        return done.stdout

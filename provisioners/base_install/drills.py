"""The boot drill: a node starts with its first boot drive gone, and its mirror is made whole again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cluster.errors import DeadlineError, RackproofError
from provisioners.base_install.observation import observe
from provisioners.base_install.system import System
from provisioners.change import Progress

if TYPE_CHECKING:
    from cluster.cluster import Cluster
    from cluster.site_models import NodeSpec

OFF_S = 180.0
BOOT_S = 900.0
MEND_S = 900.0
POLL_S = 3.0

# A file system that ran on one leg has written chunks once: they are written twice again, then both legs
# are read.
_MEND = """
case $(findmnt -n -o FSTYPE /) in
btrfs) btrfs balance start -f -dconvert=raid1,soft -mconvert=raid1,soft -sconvert=raid1,soft / &&
       btrfs scrub start -B / && btrfs device stats -z / >/dev/null ;;
zfs)   pool=$(findmnt -n -o SOURCE /); pool=${pool%%/*}
       zpool online "$pool" $(zpool status -P "$pool" | awk '/OFFLINE|REMOVED|UNAVAIL/{print $1}') 2>/dev/null
       zpool wait -t resilver "$pool" && zpool clear "$pool" ;;
*)     echo "no mirror known on $(findmnt -n -o FSTYPE /)" >&2; exit 1 ;;
esac
"""


def not_bootable(node: NodeSpec, system: System) -> Iterator[str]:
    """Why a node could not be started from one of its boot drives; nothing when it can. Pure.

    Each leg needs a loader where firmware looks when it knows no entry, and both must hold the same loaders.
    """
    fallback = "efi/boot/bootx64.efi"
    loaders = {}
    for serial in node.boot_drives:
        drive = system.drive(serial)
        found = dict(drive.loaders) if drive else {}
        loaders[serial] = found
        if drive is None:
            yield f"boot drive {serial} is not there"
        elif fallback not in {path.lower().lstrip("./") for path in found}:
            yield f"boot drive {serial} has no loader at {fallback}"
    if len({tuple(sorted(found.items())) for found in loaders.values()}) > 1:
        yield f"the loaders on {' and '.join(loaders)} differ"


class BootLeg:
    """Pulls a node's first boot drive, starts it, and puts everything back. Needs the site's remote hands."""

    def __init__(self, cluster: Cluster, node: NodeSpec, progress: Progress) -> None:
        self.cluster = cluster
        self.node = node
        self.serial = node.boot_drives[0]
        self._say = progress
        self._out = False

    def pull(self) -> None:
        """Shuts the node down, has its first boot drive pulled. Raises NotApplicableError without hands."""
        if self.cluster.site.hands is not None:  # without hands the server is not even shut down
            self._off()
        self._say(f"{self.node.name}: pulling boot drive {self.serial}")
        self.cluster.hands.pull_drive(self.node.name, self.serial)
        self._out = True

    def start(self) -> None:
        """Powers the node on and waits until it answers."""
        self.cluster.bmcs[self.node.name].power("On")
        self._wait("start")

    def booted_from_second(self) -> str:
        """A sentence on what it came up from. Raises RackproofError when the first drive is still there."""
        system = observe(self.cluster).system(self.node.name)
        legs = [leg.serial for leg in system.mirror.legs if leg.serial]
        if system.drive(self.serial) is not None:
            raise RackproofError(f"{self.node.name}: drive {self.serial} is still there: nothing was shown")
        if legs != [self.node.boot_drives[1]]:
            second = self.node.boot_drives[1]
            raise RackproofError(f"{self.node.name}: runs on {legs}, expected {second} alone")
        return f"{self.node.name} started without {self.serial}, from {legs[0]} alone"

    def restore(self) -> None:
        """Puts the drive back, starts the node and makes the mirror whole. May be called again."""
        if not self._out:
            return
        self._off()
        self.cluster.hands.push_drive(self.node.name, self.serial)
        self._out = False
        self.start()
        self._say(f"{self.node.name}: making the mirror whole")
        self.cluster.nodes[self.node.name].run(_MEND, timeout=MEND_S)

    def _off(self) -> None:
        bmc = self.cluster.bmcs[self.node.name]
        if bmc.power_state() == "Off":
            return
        self._say(f"{self.node.name}: shutting down")
        bmc.power("GracefulShutdown")
        try:
            bmc.wait_power("Off", OFF_S)
        except DeadlineError:
            self._say(f"{self.node.name}: did not shut down within {OFF_S:.0f} s; forced off")
            bmc.power("ForceOff")
            bmc.wait_power("Off", OFF_S)

    def _wait(self, what: str) -> None:
        began = time.monotonic()
        while time.monotonic() < began + BOOT_S:
            if self.cluster.nodes[self.node.name].reachable(5):
                self._say(f"{self.node.name}: answers after {time.monotonic() - began:.0f} s")
                return
            time.sleep(POLL_S)
        raise DeadlineError(f"{self.node.name}: waited {BOOT_S:.0f} s for SSH after {what}")

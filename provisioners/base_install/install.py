"""Installing servers over their management controllers, all at once, in steps that a killed run takes up
again.

Medium in, boot from it once, power on; the installer ends with power off; medium out, power on, wait for
SSH. The marker in the parameter store is written before each step whose outcome could not be told from
outside.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.errors import DeadlineError, RackproofError, UnreachableError
from cluster.media import MediaServer
from provisioners.base_install import medium
from provisioners.base_install.hostkey import HostKey, generate
from provisioners.base_install.observation import material
from provisioners.base_install.render import MODE, answer, first_boot
from provisioners.change import Change, Progress
from provisioners.each import raise_all
from provisioners.markers import read_markers, write_marker

if TYPE_CHECKING:
    from cluster.cluster import Cluster

INSTALL_S = (
    1200.0  # from power on to power off; 98 s for three at once on an emulated CPU, longer on a busy one
)
SSH_S = 600.0
OFF_S = 120.0
SYNC_S = 40
TOLD_S = 20.0  # between two lines of progress of one server


@dataclass(frozen=True)
class Install:
    """Action `install`: from a server without a system (or with an interrupted installation) to a node that
    answers.
    """

    undo_destroys = True

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        nodes = list(dict.fromkeys(change.node for change in changes))
        image = medium.check(cluster.site)
        with tempfile.TemporaryDirectory(prefix="rackproof-media-") as folder:  # mode 0700
            preparing = threading.Lock()  # one image after the other: they compete for one disk
            with MediaServer(Path(folder), cluster.site.medium.serve_from) as server:

                def one(name: str) -> None:
                    _install(cluster, name, image, server, preparing, progress)

                raise_all(cluster.each(one, nodes))

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """Switches the servers off and forgets that they were installed: the next run installs them anew."""

        def one(name: str) -> None:
            bmc = cluster.bmcs[name]
            bmc.power("ForceOff")
            bmc.wait_power("Off", OFF_S)
            bmc.eject_media()
            write_marker(cluster, name, "")
            progress(f"{name}: switched off; it will be installed anew")

        raise_all(cluster.each(one, dict.fromkeys(change.node for change in changes)))


@dataclass(frozen=True)
class Start:
    """Action `start`: a node that is installed, or just written, is started and waited for."""

    def apply(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        def one(name: str) -> None:
            start(cluster, name, progress)

        raise_all(cluster.each(one, dict.fromkeys(change.node for change in changes)))

    def undo(self, cluster: Cluster, changes: Sequence[Change], progress: Progress) -> None:
        """Nothing: a node that runs is what was there before."""


def contents(cluster: Cluster, name: str, host_key: HostKey) -> medium.Contents:
    """What the medium of one node holds."""
    site = cluster.site
    node = site.node(name)
    found = material(cluster)
    hashed = cluster.secrets.resolve(site.install.root_password_hash, node=name)
    return medium.Contents(answer(site, node, found, hashed), MODE, first_boot(site, node, found, host_key))


def new_host_key(cluster: Cluster, name: str) -> HostKey:
    """Makes the node's host key and stores its public half where the cluster looks for it."""
    key = generate()
    cluster.aws.put_parameter(cluster.host_key_parameter(name), key.public)
    cluster.secrets.forget()
    cluster.nodes[name].forget_host_key()
    return key


def _install(
    cluster: Cluster,
    name: str,
    image: Path,
    server: MediaServer,
    preparing: threading.Lock,
    progress: Progress,
) -> None:
    bmc = cluster.bmcs[name]
    began = time.monotonic()
    running = bmc.power_state() != "Off"
    if running and read_markers(cluster)[name] == "installing" and bmc.media_image() is not None:
        progress(f"{name}: an installation is running already; waiting for it")
        # Its medium's server died with the run that began it: unless all was read, it cannot end.
        if _installer_ended(cluster, name, began, progress, patience=INSTALL_S / 4):
            _finish(cluster, name, began, progress)
            return
        progress(f"{name}: that installation does not end; beginning anew")
    if (
        running
    ):  # an installer that hangs, or what --wipe allowed; a node of ours was never let through to here
        bmc.power("ForceOff")
        bmc.wait_power("Off", OFF_S)
    write_marker(cluster, name, "installing")
    host_key = new_host_key(cluster, name)
    with preparing:
        progress(f"{name}: preparing its medium")
        target = server.folder / f"{name}.iso"
        medium.prepare(image, contents(cluster, name, host_key), target)
    try:
        bmc.insert_media(server.publish(target.name))
        bmc.boot_once("Cd")
        bmc.power("On")
        progress(f"{name}: installing, powers itself off when done (at most {INSTALL_S:.0f} s)")
        if not _installer_ended(cluster, name, began, progress, patience=INSTALL_S):
            raise DeadlineError(
                f"{name}: the installer did not power the server off within {INSTALL_S:.0f} s;"
                " its console tells why"
            )
    finally:
        target.unlink(missing_ok=True)
    _finish(cluster, name, began, progress)


def _installer_ended(cluster: Cluster, name: str, began: float, progress: Progress, patience: float) -> bool:
    """Waits for power off, telling how long it has been. False after `patience` seconds."""
    until = time.monotonic() + patience
    while (remaining := until - time.monotonic()) > 0:
        with contextlib.suppress(DeadlineError):
            cluster.bmcs[name].wait_power("Off", min(TOLD_S, remaining))
            progress(f"{name}: the installer has powered it off after {time.monotonic() - began:.0f} s")
            return True
        progress(f"{name}: installing, {time.monotonic() - began:.0f} s of at most {patience:.0f} s")
    return False


def _finish(cluster: Cluster, name: str, began: float, progress: Progress) -> None:
    write_marker(cluster, name, "written")
    start(cluster, name, progress)
    progress(f"{name}: installed, {time.monotonic() - began:.0f} s in all")


def start(cluster: Cluster, name: str, progress: Progress) -> None:
    """Medium out, power on, wait for SSH; then the node counts as installed. Raises UnreachableError after
    SSH_S.
    """
    bmc = cluster.bmcs[name]
    if bmc.power_state() == "Off":
        bmc.eject_media()
        bmc.power("On")
        progress(f"{name}: starting from its boot drives, waiting for SSH (at most {SSH_S:.0f} s)")
    wait_ssh(cluster, name, progress)
    if bmc.media_image() is not None:
        bmc.eject_media()
    if read_markers(cluster)[name] != "installed":
        # Time comes a few seconds after the network; a lack of it is a finding, no reason to stop here.
        cluster.nodes[name].run(
            f"chronyc -n waitsync {SYNC_S // 2} 0.05 0 2", timeout=SYNC_S + 10, check=False
        )
        write_marker(cluster, name, "installed")


def wait_ssh(cluster: Cluster, name: str, progress: Progress, deadline_s: float | None = None) -> None:
    """Waits until the node lets us in with the key that we know it by. Raises UnreachableError with the
    last reason.
    """
    deadline_s = SSH_S if deadline_s is None else deadline_s
    node = cluster.nodes[name]
    began = time.monotonic()
    told = began
    last: RackproofError | None = None
    while (waited := time.monotonic() - began) < deadline_s:
        if node.reachable(5):
            with contextlib.suppress(UnreachableError):
                node.run("true", timeout=30)
                progress(f"{name}: answers by SSH after {waited:.0f} s")
                return
        if time.monotonic() - told > TOLD_S:
            told = time.monotonic()
            progress(f"{name}: no answer by SSH yet, {waited:.0f} s of at most {deadline_s:.0f} s")
        time.sleep(1)
    try:
        node.run("true", timeout=10)
    except RackproofError as error:
        last = error
    if last is not None:
        drives = cluster.site.node(name).boot_drives
        consent = " ".join(f"--wipe {serial}" for serial in drives)
        raise UnreachableError(
            f"{name}: no answer by SSH within {deadline_s:.0f} s ({last});"
            f" it is not installed again without {consent}"
        )

"""`lab save` and `lab restore`: the whole rack, cold. QEMU's NVMe admits no snapshot of a running server.

A saved rack is a qcow2 snapshot in each drive, and a folder with firmware variables and what hands had done.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from lab import domain, ovs, physical, servers
from lab.errors import LabError
from lab.paths import State
from lab.processes import run
from lab.progress import Progress
from lab.rack import PORTS, Rack

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
MANIFEST = "drives.json"


def names(state: State) -> list[str]:
    """What was saved, whole."""
    if not state.saves.is_dir():
        return []
    return sorted(folder.name for folder in state.saves.iterdir() if (folder / MANIFEST).exists())


def save(rack: Rack, state: State, name: str, *, replace: bool = False) -> None:
    """Power the servers off and keep everything under a name.

    Raises LabError for a malformed name, or one that is taken and not to be replaced.
    """
    if not NAME.fullmatch(name):
        raise LabError(
            f"{name!r} cannot be a name, expected up to 32 of a-z 0-9 _ - and a letter or digit first"
        )
    if name in names(state) and not replace:
        raise LabError(f"{name} is saved already; use --replace, or another name")
    progress = Progress(3)
    progress.step("servers off")
    forced = servers.power_off_all(rack)
    if forced:
        progress(f"did not shut down in time, power removed: {', '.join(forced)}")
    folder = state.saves / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    serials = _serials(rack)
    progress.step(f"{len(serials)} drives")
    for serial in serials:
        file = str(domain.disk_path(state, serial))
        run(["qemu-img", "snapshot", "-d", name, file], check=False)  # of an earlier save, or a killed one
        run(["qemu-img", "snapshot", "-c", name, file], deadline_s=60)
    progress.step("firmware variables, bays, cables")
    for server in rack.server:
        variables = domain.nvram_path(state, server)
        shutil.copyfile(variables, folder / variables.name)
    if physical.path(state).exists():
        shutil.copyfile(physical.path(state), folder / physical.path(state).name)
    (folder / MANIFEST).write_text(json.dumps(serials), encoding="ascii")  # last: what has it is whole


def restore(rack: Rack, state: State, name: str) -> None:
    """Pull the plugs and bring everything back as it was saved; what is on the drives now is lost.

    Raises LabError when nothing of that name was saved, or the rack had other drives then.
    """
    folder = state.saves / name
    if name not in names(state):
        raise LabError(f"nothing is saved as {name!r}, there is: {', '.join(names(state)) or 'nothing'}")
    serials = _serials(rack)
    if json.loads((folder / MANIFEST).read_text(encoding="ascii")) != serials:
        raise LabError(f"{name} was saved of a rack with other drives; put rack.toml back as it was")
    progress = Progress(3)
    progress.step("servers off")
    servers.power_off_all(rack, deadline_s=0)
    progress.step(f"{len(serials)} drives")
    for serial in serials:
        run(["qemu-img", "snapshot", "-a", name, str(domain.disk_path(state, serial))], deadline_s=60)
    progress.step("firmware variables, bays, cables")
    for server in rack.server:
        variables = domain.nvram_path(state, server)
        shutil.copyfile(folder / variables.name, variables)
    _restore_physical(rack, state, folder)


def _restore_physical(rack: Rack, state: State, folder: Path) -> None:
    saved = folder / physical.path(state).name
    if saved.exists():
        shutil.copyfile(saved, physical.path(state))
    else:
        physical.path(state).unlink(missing_ok=True)
    now = physical.read(state)
    for server in rack.server:
        servers.redefine_drives(rack, state, server)
        for port in PORTS:
            servers.server_end(server.name, server.tap(port), now.link_up(server.tap(port)))
            ovs.set_admin(server.tap(port), now.link_up(server.tap(port)))


def _serials(rack: Rack) -> list[str]:
    return [drive.serial for server in rack.server for drive in rack.drives(server)]

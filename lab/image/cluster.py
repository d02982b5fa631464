"""What makes a node of a cluster: the stand-in's daemon, Corosync and Ceph as Proxmox VE leaves them, LVM."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.errors import LabError
from lab.image import recipe

MODULES = "usr/share/ceph/mgr"
ASIDE = "usr/share/rack/mgr-modules"
PACKAGE = "usr/lib/python3/dist-packages/pve_standin"
BCRYPT = "import bcrypt\n"
MODULE = '    MGR_POOL_NAME = ".mgr"\n'
"""Within `class MgrModule`."""
BRIDGE = "usr/share/ifupdown2/addons/bridge.py"
CONDONED = "bridge_port_condone_regex = ifaceobj.get_attr_value_first('bridge-ports-condone-regex')"
# What pve-manager appends to lvm.conf: a guest's volumes on an RBD image are not this node's.
LVM_FILTER = """
devices {
     # added by pve-manager to avoid scanning ZFS zvols and Ceph rbds
     global_filter=["r|/dev/zd.*|","r|/dev/rbd.*|"]
}
"""


def install(folder: Path) -> None:
    """Make a root file system that has the packages a cluster's node."""
    _daemon(folder)
    _manager(folder)
    _bridges(folder)
    _units(folder)
    # Debian ships a sample that would start a cluster of its own.
    (folder / "etc/corosync/corosync.conf").unlink(missing_ok=True)
    with (folder / "etc/lvm/lvm.conf").open("a", encoding="utf-8") as stream:
        stream.write(LVM_FILTER)


def _daemon(folder: Path) -> None:
    """The stand-in of Proxmox VE's daemons, as a Python package."""
    target = folder / PACKAGE
    for source in recipe.files_of(recipe.DAEMON):
        place = target / source.relative_to(recipe.DAEMON)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
        place.chmod(0o644)


def _manager(folder: Path) -> None:
    """Debian's manager loads no module with Python 3.13: bcrypt, which is Rust, refuses sub-interpreters.
    Only the dashboard, which Debian does not package, hashes passwords with it.

    And it takes each module that says not of what it wants to be notified for one that crashed. The crash
    collector then tries every ten minutes to post all these crashes, 33 clients a node, which takes an
    emulated node's processor for minutes. So modules say that they want nothing.

    Raises LabError when a file is not as expected, because then nobody knows whether a manager works.
    """
    modules = folder / MODULES
    _replace(modules / "mgr_util.py", BCRYPT, "bcrypt = None\n")
    _replace(modules / "mgr_module.py", MODULE, f"{MODULE}    NOTIFY_TYPES = []\n")
    for name in recipe.MGR_MODULES_ASIDE:
        module = folder / MODULES / name
        if not module.is_dir():
            raise LabError(f"{module}: expected a module of the manager to put aside")
        target = folder / ASIDE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(module, target)


def _bridges(folder: Path) -> None:
    """Proxmox VE's ifupdown2 leaves guests on their bridge when the network is loaded anew; Debian's takes
    every port off that no file names. Raises LabError where the file is not as expected.
    """
    _replace(folder / BRIDGE, f"{CONDONED}\n", f"{CONDONED} or '(tap|veth|fwpr)[0-9]'\n")


def _replace(file: Path, line: str, text: str) -> None:
    """One line by another text. Raises LabError where it does not stand there once."""
    before = file.read_text(encoding="utf-8")
    if before.count(line) != 1:
        raise LabError(f"{file}: expected one line {line.strip()!r}, found {before.count(line)}")
    file.write_text(before.replace(line, text), encoding="utf-8")


def _units(folder: Path) -> None:
    """Enable the daemons of the stand-in; what waits for a cluster is not enabled."""
    units = folder / "etc/systemd/system"
    for unit in recipe.DISABLED:
        disable(units, unit)
    for source in recipe.files_of(recipe.NODE_FILES / "usr/lib/systemd/system"):
        for target in _named(source, "WantedBy"):
            wants = units / f"{target}.wants"
            wants.mkdir(parents=True, exist_ok=True)
            (wants / source.name).unlink(missing_ok=True)
            (wants / source.name).symlink_to(f"/usr/lib/systemd/system/{source.name}")
        for alias in _named(source, "Alias"):
            (units / alias).unlink(missing_ok=True)
            (units / alias).symlink_to(f"/usr/lib/systemd/system/{source.name}")


def disable(units: Path, unit: str) -> None:
    """Nothing wants or requires the unit any more. Links lead nowhere outside the node: no glob sees them."""
    for kind in ("wants", "requires"):
        for folder in units.glob(f"*.{kind}"):
            (folder / unit).unlink(missing_ok=True)


def _named(unit: Path, key: str) -> list[str]:
    """What `[Install]` of a unit named `pve*` says; other units are their packages' matter."""
    if not unit.name.startswith("pve") or unit.parent.name.endswith(".d"):
        return []
    lines = [line.partition("=") for line in unit.read_text(encoding="utf-8").splitlines()]
    return [word for found, _, value in lines if found == key for word in value.split()]

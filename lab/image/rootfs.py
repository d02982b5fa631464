"""The node's root file system: Debian by mmdebstrap, then made to look and start as a node does."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

from lab.errors import DeadlineError, LabError
from lab.image import cluster, recipe
from lab.processes import run

BOOTSTRAP_DEADLINE_S = 900.0
# A private mount and pid namespace: when we are killed, mounts and children go with it.
PRIVATE = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--")


def bootstrap(folder: Path, log: Path) -> None:
    """Install the packages into an empty folder. Raises LabError with the end of the log when it fails."""
    if not recipe.KEYRING.is_file():
        raise LabError(f"{recipe.KEYRING} is missing, expected it from the package debian-archive-keyring")
    command = [
        *PRIVATE,
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--keyring={recipe.KEYRING}",
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude={glob}" for glob in recipe.EXCLUDED),
        *(f"--dpkgopt=path-include={glob}" for glob in recipe.INCLUDED),
        f"--include={','.join(recipe.ALL_PACKAGES)}",
        recipe.SUITE,
        str(folder),
        *recipe.SOURCES,
    ]
    environment = {**os.environ, "INITRD": "No", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        with log.open("wb") as sink:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=BOOTSTRAP_DEADLINE_S,
                check=False,
            )
    except FileNotFoundError as error:
        raise LabError("cannot run unshare: expected the packages util-linux and mmdebstrap") from error
    except subprocess.TimeoutExpired as error:
        raise DeadlineError(
            f"the node image was not installed within {BOOTSTRAP_DEADLINE_S:.0f} s; see {log}"
        ) from error
    if done.returncode:
        lines = [
            line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if "E:" in line
        ]
        raise LabError(
            f"mmdebstrap failed ({done.returncode}): {lines[-1] if lines else 'no message'}; see {log}"
        )


def kernel_version(folder: Path) -> str:
    return next((folder / "usr/lib/modules").iterdir()).name


def customise(folder: Path, release: str) -> None:
    """Add the node's files, switch off what it does not need, take out what must differ from node to node."""
    for source in recipe.files_of(recipe.NODE_FILES):
        target = folder / source.relative_to(recipe.NODE_FILES)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
    write_release(folder, release)
    cluster.install(folder)
    units = folder / "etc/systemd/system"
    for unit in recipe.MASKED:
        cluster.disable(units, unit)
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    generators = folder / "etc/systemd/system-generators"
    generators.mkdir(exist_ok=True)
    for generator in recipe.MASKED_GENERATORS:
        (generators / generator).symlink_to("/dev/null")
    for path in (
        "etc/apt/sources.list",
        "etc/machine-id",
        "etc/hostname",
        "etc/resolv.conf",
        "var/lib/dbus/machine-id",
        *(str(key.relative_to(folder)) for key in (folder / "etc/ssh").glob("ssh_host_*")),
    ):
        (folder / path).unlink(missing_ok=True)
    (folder / "etc/machine-id").touch()
    for path in ("cdrom", "etc/pve", "root/.ssh", "etc/iproute2/rt_tables.d"):
        (folder / path).mkdir(parents=True, exist_ok=True)
    run(
        [
            "chroot",
            str(folder),
            "python3",
            "-m",
            "compileall",
            "-q",
            "/usr/share/ifupdown2",
            "/usr/lib/python3",
            "/usr/share/ceph/mgr",
            "/usr/lib/python3.13",
        ],
        deadline_s=120,
        check=False,
    )
    _mark_updated(folder)


def write_release(folder: Path, release: str) -> None:
    """The data that pveversion reads. Raises LabError for a release that releases.toml does not know."""
    known = tomllib.loads(recipe.RELEASES.read_text(encoding="utf-8"))
    if release not in known:
        raise LabError(f"rack.toml: medium.release is {release!r}, expected one of {', '.join(known)}")
    data = known[release]
    target = folder / "usr/share/rack/pve-release"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        f"PROXMOX_VE={data['proxmox_ve']}\nPVE_MANAGER={data['pve_manager']}\nPVE_REPOID={data['repoid']}\n",
        encoding="utf-8",
    )


def _mark_updated(folder: Path) -> None:
    """Tell systemd that hwdb, catalog and users fit /usr already; else the first boot builds them again."""
    changed = (folder / "usr").stat()
    for name in ("etc/.updated", "var/.updated"):
        (folder / name).write_text(f"TIMESTAMP_NSEC={changed.st_mtime_ns}\n", encoding="ascii")
        os.utime(folder / name, ns=(changed.st_mtime_ns, changed.st_mtime_ns))


def squash(folder: Path, target: Path) -> None:
    """Pack the root file system. lz4: unpacking on an emulated CPU is what an installation waits for."""
    run(
        [
            "mksquashfs",
            str(folder),
            str(target),
            "-comp",
            "lz4",
            "-noappend",
            "-quiet",
            "-no-progress",
            "-e",
            "var/cache/apt",
            "-e",
            "var/lib/apt/lists",
        ],
        deadline_s=300,
    )


def make(folder: Path, release: str, log: Path, progress: Callable[[str], None]) -> str:
    """A whole root file system in a folder that does not exist yet; returns the kernel's version."""
    progress(f"image: installing {len(recipe.ALL_PACKAGES)} packages of Debian {recipe.SUITE}")
    bootstrap(folder, log)
    progress("image: making it a node")
    customise(folder, release)
    return kernel_version(folder)

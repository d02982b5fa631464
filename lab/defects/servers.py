"""Defects of drives and of the installer medium."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lab import domain, servers
from lab.defects import scenarios
from lab.defects.defect import Defect, Memory, Place
from lab.defects.nodes import shell
from lab.errors import LabError
from lab.processes import run
from lab.rack import Drive

SIGNATURE_BYTES = 4096
"""Swap space announces itself within the first page."""


def _second_boot(place: Place) -> str:
    return [drive.serial for drive in place.rack.drives(place.server) if drive.boot][1]


def _data(place: Place) -> list[Drive]:
    drives = [drive for drive in place.rack.drives(place.server) if not drive.boot]
    if not drives:
        raise LabError(f"{place.target} has no data drive: servers.data_disks in rack.toml is 0")
    return drives


def _pull_leg(place: Place) -> Memory:
    servers.set_drive(place.rack, place.state, place.target, _second_boot(place), False)
    return {}


def _push_leg(place: Place, _: Memory) -> None:
    servers.set_drive(place.rack, place.state, place.target, _second_boot(place), True)


def _pull_data(place: Place) -> Memory:
    servers.set_drive(place.rack, place.state, place.target, _data(place)[-1].serial, False)
    return {}


def _push_data(place: Place, _: Memory) -> None:
    servers.set_drive(place.rack, place.state, place.target, _data(place)[-1].serial, True)


# --- somebody's data on a drive that should be blank --------------------------------------------------------


def _write_signature(place: Place) -> Memory:
    with tempfile.TemporaryDirectory(dir=place.state.tmp) as folder:
        image = Path(folder) / "signature"
        image.write_bytes(bytes(64 * 1024))
        run(["mkswap", "--label", "somebodys-data", str(image)])
        _overwrite(place, image.read_bytes()[:SIGNATURE_BYTES])
    return {}


def _erase_signature(place: Place, _: Memory) -> None:
    _overwrite(place, bytes(SIGNATURE_BYTES))


def _overwrite(place: Place, content: bytes) -> None:
    """The first page of the first data drive, through the node when it runs, else in the drive's file."""
    drive = _data(place)[0]
    if servers.running(place.target):
        octal = "".join(f"\\{byte:03o}" for byte in content.rstrip(b"\0"))
        shell(
            place,
            f"""
            for block in /sys/class/block/nvme*n1; do
                [ "$(cat $block/device/serial | tr -d ' ')" = {drive.serial} ] || continue
                {{ printf '{octal}'; head -c {SIGNATURE_BYTES} /dev/zero; }} | head -c {SIGNATURE_BYTES} |
                    dd of=/dev/${{block##*/}} bs={SIGNATURE_BYTES} iflag=fullblock conv=fsync status=none
                udevadm settle
                exit 0
            done
            echo 'no drive {drive.serial}' >&2
            exit 1""",
        )
        return
    with tempfile.TemporaryDirectory(dir=place.state.tmp) as folder:
        page = Path(folder) / "page"
        page.write_bytes(content)
        file = domain.disk_path(place.state, drive.serial)
        run(["qemu-io", "-f", "qcow2", "-c", f"write -s {page} 0 {SIGNATURE_BYTES}", str(file)])


# --- medium -------------------------------------------------------------------------------------------------


def _checksum_file(place: Place) -> Path:
    return place.state.root / f"{place.rack.medium.path}.sha256"


def _wrong_checksum(place: Place) -> Memory:
    file = _checksum_file(place)
    if not file.exists():
        raise LabError(f"{file} is missing: the rack has no installer medium")
    before = file.read_text(encoding="ascii")
    file.write_text(("0" if before[0] != "0" else "1") + before[1:], encoding="ascii")
    return {"before": before}


def _right_checksum(place: Place, memory: Memory) -> None:
    if memory:
        _checksum_file(place).write_text(memory["before"], encoding="ascii")


DEFECTS = (
    Defect("boot-leg-missing", "the second boot drive is out of its bay",
           (scenarios.MIRROR, scenarios.SERVERS), _pull_leg, _push_leg, "node", "node2"),
    Defect("missing-disk", "the last data drive is out of its bay", (scenarios.DRIVES, scenarios.SERVERS),
           _pull_data, _push_data, "node", "node3"),
    Defect("data-on-blank-disk", "the first data drive bears somebody's swap space", (scenarios.DRIVES,),
           _write_signature, _erase_signature, "node", "node1"),
    Defect("wrong-medium-checksum", "the medium's checksum is not the published one", (scenarios.MEDIUM,),
           _wrong_checksum, _right_checksum),
)  # fmt: skip

"""The unattended installation: `python3 -m installer` on the live system, with the medium on /cdrom.

It asks nothing. On success the server powers off or reboots as the answer says. On failure it prints
`INSTALL FAILED: <sentence>` and stays as it is (or reboots after 30 s where the answer orders that):
a server that powered off would look installed.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path

from . import answer as answers
from . import bootloader, devices, render, storage, target
from .errors import InstallError
from .system import run, say, step, write

MEDIUM = Path("/cdrom")
TARGET = Path("/target")
STEPS = 7
REBOOT_ON_ERROR_S = 30


def find(order: answers.Answer) -> tuple[list[devices.Disk], devices.Port, dict[str, str]]:
    """The disks, the management port, and the name of every port by MAC."""
    database = devices.parse_export(run(["udevadm", "info", "--export-db"]))
    least = answers.LEAST_DISKS[order.disks.raid]
    chosen = devices.choose_disks(
        devices.disks(database), order.disks.names, order.disks.filter, order.disks.match_all, least
    )
    devices.check_sizes(chosen, mirrored=order.disks.raid == "raid1")
    ports = devices.ports(database)
    management = devices.choose_port(ports, order.network.filter)
    names = devices.pinned_names(ports, order.network.pins)
    say(
        f"INSTALL: {order.globals.host}.{order.globals.domain} on "
        f"{', '.join(f'{disk.name} ({disk.serial})' for disk in chosen)}; management port {management.mac} "
        f"as {names[management.mac]}"
    )
    return chosen, management, names


def install(order: answers.Answer) -> None:
    step(2, STEPS, "finding disks and network ports")
    hook = MEDIUM / "proxmox-first-boot"
    if order.first_boot is not None:
        target.check_hook(hook)
    chosen, management, names = find(order)
    step(3, STEPS, "creating partitions and filesystems")
    filesystem = storage.make(chosen, order.disks, TARGET)
    step(4, STEPS, "extracting base system")
    target.unpack(MEDIUM / "pve-base.squashfs", TARGET)
    step(5, STEPS, "configuring base system")
    machine_id = target.configure(TARGET, order, render.files(order, names, management.mac, filesystem))
    if order.first_boot is not None:
        target.add_hook(TARGET, hook, order.first_boot)
    step(6, STEPS, "making system bootable")
    words = target.command_line(filesystem, Path("/proc/cmdline").read_text(encoding="ascii"))
    write(TARGET, "etc/kernel/cmdline", words)
    bootloader.install(TARGET, chosen, machine_id, words)
    step(7, STEPS, "writing everything to disk")
    run(["umount", str(TARGET)])


def finish(verb: str) -> None:
    os.sync()
    run(["busybox", verb, "-f"])
    time.sleep(REBOOT_ON_ERROR_S)  # the kernel needs a moment; process 1 must not end before it


def fail(sentence: str, reboot: bool) -> None:
    say(f"INSTALL FAILED: {sentence}")
    if reboot:
        time.sleep(REBOOT_ON_ERROR_S)
        finish("reboot")


def main() -> None:
    reboot_on_error = False
    try:
        step(1, STEPS, "reading the answer file")
        if not Path("/sys/firmware/efi").exists():
            raise InstallError("the server did not boot by UEFI, expected UEFI firmware")
        answers.fetch_mode(MEDIUM / "auto-installer-mode.toml")
        order = answers.read(MEDIUM / "answer.toml")
        reboot_on_error = order.globals.reboot_on_error
        install(order)
    except InstallError as error:
        fail(str(error), reboot_on_error)
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - whatever it is, the console must say it
        traceback.print_exc()
        fail(f"unexpected {type(error).__name__}: {error}", reboot_on_error)
        sys.exit(1)
    say("INSTALL: finished")
    finish("poweroff" if order.globals.power_off else "reboot")


if __name__ == "__main__":
    main()

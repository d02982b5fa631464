"""Wiping a drive and giving it a GPT: what is refused, what is run."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from proxmoxer import ResourceException

from lab.standins.proxmox.daemon.http.machine import Result

from .conftest import DRIVES, NODE, Rig

WIPE = f"/nodes/{NODE}/disks/wipedisk"
GPT = f"/nodes/{NODE}/disks/initgpt"
FREE = "/dev/nvme2n1"


def with_child(rig: Rig, *children: dict[str, Any], drive: int = 2, **changed: Any) -> None:
    listed = copy.deepcopy(DRIVES)
    listed["blockdevices"][drive] |= {"children": list(children), **changed}
    rig.machine.answers["lsblk"] = lambda _: json.dumps(listed)


def part(number: int, **more: Any) -> dict[str, Any]:
    name = f"nvme2n1p{number}"
    return {"name": name, "path": f"/dev/{name}", "type": "part", "size": 10, "mountpoints": [None], **more}


def volume(**more: Any) -> dict[str, Any]:
    name = "ceph--1-osd--block--1"
    return {
        "name": name,
        "path": f"/dev/mapper/{name}",
        "type": "lvm",
        "size": 9,
        "mountpoints": [None],
        **more,
    }


def refused(rig: Rig, method: str, path: str, disk: str) -> tuple[int, str]:
    with pytest.raises(ResourceException) as error:
        rig.call(method, path, disk=disk)
    written = [words for words in rig.machine.ran if words[0] in ("wipefs", "dd", "sgdisk")]
    assert not written, "a drive that was refused was written to"
    return error.value.status_code, error.value.content


def test_a_mounted_partition_is_not_wiped(rig: Rig) -> None:
    wanted = 500, "disk/partition '/dev/nvme0n1p1' is mounted"
    assert refused(rig, "PUT", WIPE, "/dev/nvme0n1") == wanted
    assert refused(rig, "PUT", WIPE, "/dev/nvme0n1p1") == wanted


def test_a_drive_of_an_osd_has_a_holder(rig: Rig) -> None:
    with_child(rig, volume(), drive=1)
    assert refused(rig, "PUT", WIPE, "/dev/nvme1n1") == (500, "disk/partition 'nvme1n1' has a holder")


def test_a_partition_that_lvm_holds(rig: Rig) -> None:
    with_child(rig, part(1), part(2, children=[volume()]))
    assert refused(rig, "PUT", WIPE, FREE) == (500, "disk/partition 'nvme2n1p2' has a holder")


@pytest.mark.parametrize("disk", ["/dev/zero", "/dev/nvme9n1", "/dev/mapper/x"])
@pytest.mark.parametrize(("method", "path"), [("PUT", WIPE), ("POST", GPT)])
def test_what_is_no_drive(rig: Rig, method: str, path: str, disk: str) -> None:
    assert refused(rig, method, path, disk) == (500, "not a valid block device")


def test_a_path_outside_dev_is_a_bad_parameter(rig: Rig) -> None:
    with pytest.raises(ResourceException) as error:
        rig.call("PUT", WIPE, disk="/etc/passwd")
    assert (error.value.status_code, error.value.errors) == (
        400,
        {"disk": "value does not match the regex pattern"},
    )


def test_wiping_is_roots_alone(rig: Rig) -> None:
    rig.call("POST", "/access/users", userid="admin@pve", password="long enough")
    rig.call("PUT", "/access/acl", path="/", users="admin@pve", roles="Administrator")
    client = rig.login("admin@pve", "long enough")
    with pytest.raises(ResourceException) as error:
        client(WIPE.strip("/")).put(disk=FREE)
    assert error.value.status_code == 403


def test_signatures_that_nothing_uses_are_wiped_with_the_partitions(rig: Rig) -> None:
    with_child(rig, part(1, fstype="ext4"), part(2), size=64 << 20, pttype="gpt")
    status, lines = rig.task(rig.call("PUT", WIPE, disk=FREE))
    assert (status, lines[:2]) == (
        "OK",
        [f"found child partitions to wipe: {FREE}p1, {FREE}p2", f"wiping block device {FREE}"],
    )
    ran = [words for words in rig.machine.ran if words[0] in ("wipefs", "dd", "udevadm")]
    assert [words[0] for words in ran] == ["wipefs", "wipefs", "dd", "udevadm"]
    assert ran[0][-2:] == [f"{FREE}p1", f"{FREE}p2"]
    assert ran[1][-1] == FREE
    assert {f"of={FREE}", "count=10"} <= {*ran[2]}


def test_a_volume_group_that_is_not_active_holds_nothing(rig: Rig) -> None:
    assert rig.task(rig.call("PUT", WIPE, disk="/dev/nvme1n1"))[0] == "OK"


def test_a_wipe_that_fails_says_so(rig: Rig) -> None:
    rig.machine.answers["dd"] = lambda _: Result(1, "", "Input/output error")
    assert rig.task(rig.call("PUT", WIPE, disk=FREE))[0].endswith("Input/output error")


def test_udev_that_is_not_told_is_a_warning(rig: Rig) -> None:
    rig.machine.answers["udevadm"] = lambda _: Result(1, "", "no")
    assert rig.task(rig.call("PUT", WIPE, disk=FREE))[0] == "WARNINGS: 1"


def test_a_gpt_is_for_an_unused_whole_drive(rig: Rig) -> None:
    assert refused(rig, "POST", GPT, "/dev/nvme1n1") == (500, "disk /dev/nvme1n1 already in use")
    assert refused(rig, "POST", GPT, "/dev/nvme0n1p1") == (500, "/dev/nvme0n1p1 is a partition")
    assert rig.task(rig.call("POST", GPT, disk=FREE))[0] == "OK"
    assert ["sgdisk", FREE, "-U", "R"] in rig.machine.ran

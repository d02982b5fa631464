"""Ceph on a node: configuration file, keys, drives, volumes, OSDs, the command."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.standins.proxmox.daemon.ceph import addresses, conf, drives, keys, mon, pools, setup, units
from lab.standins.proxmox.daemon.cli import pveceph
from lab.standins.proxmox.daemon.http.errors import ApiError, ParameterError
from lab.standins.proxmox.daemon.http.machine import Result

from .conftest import NODE, FakeMachine, Rig, files
from .contract_ceph import FakeRados, initialised, running

SAMPLE = """[global]
	fsid = x
	mon_host =  10.6.0.11 10.6.0.12

[client]
	keyring = /etc/pve/priv/$cluster.$name.keyring

[mds]
	keyring = y

[mds.node1]
	host = node1

[mon.node1]
	public_addr = 10.6.0.11
"""


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    made = FakeMachine(NODE, tmp_path)
    files(made)
    return made


def test_the_file_keeps_its_form_and_order() -> None:
    found = conf.parse(SAMPLE + "[osd]\n osd memory-target = 1 ; half\n")
    assert found["osd"] == {"osd_memory_target": "1"}
    shuffled = dict(reversed(conf.parse(SAMPLE).items()))
    assert conf.render(shuffled) == SAMPLE.replace("=  ", "= ")


def test_a_key_is_what_cephx_reads() -> None:
    kind, seconds, nanoseconds, length = struct.unpack("<hiih", base64.b64decode(keys.fresh())[:12])
    assert (kind, nanoseconds, length) == (1, 0, 16) and seconds > 0
    assert len(base64.b64decode(keys.fresh())) == 12 + 16
    assert keys.key_in(keys.ring("client.x", "secret==", {"mon": "allow r"})) == "secret=="
    assert keys.fresh() != keys.fresh()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[v2:10.6.0.11:3300/0,v1:10.6.0.11:6789/0]", "10.6.0.11"),
        ("10.6.0.11:6789/0", "10.6.0.11"),
        ("10.6.0.11", "10.6.0.11"),
        ("[fd00::1]:6789/0", "fd00::1"),
    ],
)
def test_an_address_without_port_and_nonce(text: str, wanted: str) -> None:
    assert addresses.bare(text) == wanted


def test_init_twice_keeps_the_identity_and_changes_the_networks(machine: FakeMachine) -> None:
    machine.write(units.BINARIES["ceph_bin"], "")
    setup.initialise(machine, setup.Order(network="10.9.0.0/24", size=2))
    first = conf.load(machine)["global"]
    order = setup.Order(network="10.9.0.0/24", cluster_network="10.8.0.0/24", size=3)
    setup.initialise(machine, order)
    second = conf.load(machine)["global"]
    assert second == {**first, "cluster_network": "10.8.0.0/24"}
    with pytest.raises(ParameterError):
        setup.initialise(machine, setup.Order(network="10.9.0.0"))


def test_a_file_of_ones_own_is_not_overwritten(machine: FakeMachine) -> None:
    machine.write("/etc/ceph/ceph.conf", "[global]\n")
    with pytest.raises(ApiError, match="already exists and is not a symlink"):
        units.link_configuration(machine)


@pytest.mark.parametrize(
    ("wanted", "network", "said"),
    [
        ("10.9.0.99", "10.9.0.0/24", "Specified monitor IP '10.9.0.99' not configured or up on pve-a!"),
        (None, "10.7.0.0/24", "No active IP found for the requested ceph public network '10.7.0.0/24'"),
        (None, "10.0.0.0/8", "use 'mon-address' to specify one of them"),
    ],
)
def test_a_monitor_needs_one_address(
    machine: FakeMachine, wanted: str | None, network: str, said: str
) -> None:
    with pytest.raises(ApiError, match=said):
        mon.choose_addresses(machine, {"global": {"public_network": network}}, wanted)


def test_a_monitor_takes_nobody_elses_address_or_name() -> None:
    mons: dict[str, dict[str, Any]] = {"a": {"addr": "10.9.0.11:6789/0"}}
    with pytest.raises(ApiError, match=r"monitor address '10\.9\.0\.11' already in use"):
        mon.assert_free({}, mons, "b", ["10.9.0.11"])
    with pytest.raises(ApiError, match="monitor 'a' already exists"):
        mon.assert_free({}, mons, "a", ["10.9.0.12"])


@pytest.mark.parametrize(
    ("path", "used"), [("/dev/nvme0n1", "partitions"), ("/dev/nvme1n1", "LVM"), ("/dev/nvme2n1", None)]
)
def test_what_uses_a_drive(machine: FakeMachine, path: str, used: str | None) -> None:
    found = drives.inspect(machine, path)
    assert found.used == used
    if used:
        with pytest.raises(ApiError, match=f"device '{path}' is already in use"):
            drives.require_free(found)


def test_a_signature_that_udev_has_not_seen_is_a_use(machine: FakeMachine) -> None:
    signs = {"signatures": [{"type": "gpt"}, {"type": "ceph_bluestore"}]}
    machine.answers["wipefs"] = lambda _: json.dumps(signs)
    assert drives.inspect(machine, "/dev/nvme2n1").used == "ceph_bluestore"
    signs["signatures"].pop()
    assert drives.inspect(machine, "/dev/nvme2n1").used is None


def test_a_path_that_is_no_drive(machine: FakeMachine) -> None:
    machine.answers["lsblk"] = lambda _: Result(32, "", "not a block device")
    with pytest.raises(ApiError, match="unable to get device info for 'zero'"):
        drives.inspect(machine, "/dev/zero")


def commands(rig: Rig) -> list[str]:
    return [" ".join(words) for words in rig.machine.ran]


def test_an_osd_is_made_in_ceph_volumes_order(rig: Rig) -> None:
    running(rig)
    upid = rig.call("POST", f"/nodes/{NODE}/ceph/osd", dev="/dev/nvme2n1", **{"crush-device-class": "ssd"})
    status, _ = rig.task(upid)
    assert status == "OK"
    first_words = [words[0] for words in rig.machine.ran]
    steps = ["wipefs", "vgcreate", "lvcreate", "mount", "ceph-osd", "lvchange", "systemctl"]
    places = [first_words.index(step) for step in steps[1:]]
    assert places == sorted(places), first_words
    new = next(one for one in FakeRados.told if one["prefix"] == "osd new")
    assert json.loads(new["inbuf"])["crush_device_class"] == "ssd"
    tags = next(line for line in commands(rig) if line.startswith("lvchange"))
    for tag in ("osd_id=6", "type=block", "encrypted=0", "crush_device_class=ssd", "block_uuid=Xy-identity"):
        assert f"--addtag ceph.{tag}" in tags
    assert "systemctl start ceph-osd@6.service" in commands(rig)
    assert any(line.startswith("systemctl --no-reload enable ceph-volume@lvm-6-") for line in commands(rig))
    key = json.loads(new["inbuf"])["cephx_secret"]
    assert not any(key in line for line in commands(rig)), "the OSD's key stands on a command line"


def test_an_osd_that_fails_leaves_nothing(rig: Rig) -> None:
    running(rig)
    rig.machine.answers["ceph-osd"] = lambda _: Result(1, "", "mkfs failed")
    status, _ = rig.task(rig.call("POST", f"/nodes/{NODE}/ceph/osd", dev="/dev/nvme2n1"))
    assert status.endswith("mkfs failed")
    assert any(one["prefix"] == "osd purge-new" and one["id"] == 6 for one in FakeRados.told)
    assert any(line.startswith("vgremove") for line in commands(rig))
    assert not any(line.startswith("lvchange") for line in commands(rig))


def test_an_encrypted_osd_keeps_its_key_with_the_monitors(rig: Rig) -> None:
    running(rig)
    status, _ = rig.task(rig.call("POST", f"/nodes/{NODE}/ceph/osd", dev="/dev/nvme2n1", encrypted=1))
    assert status == "OK"
    told = json.loads(next(one for one in FakeRados.told if one["prefix"] == "osd new")["inbuf"])
    assert {"cephx_lockbox_secret", "dmcrypt_key"} <= told.keys()
    assert any("luksFormat" in line for line in commands(rig))
    assert not any(told["dmcrypt_key"] in line for line in commands(rig))


@pytest.mark.parametrize(("dev", "said"), [("/dev/nvme1n1", "device '/dev/nvme1n1' is already in use")])
def test_a_used_drive_is_refused_at_once(rig: Rig, dev: str, said: str) -> None:
    running(rig)
    with pytest.raises(Exception, match=said):
        rig.call("POST", f"/nodes/{NODE}/ceph/osd", dev=dev)
    assert not any(
        words[0] in ("wipefs", "vgcreate", "dd") and "--no-act" not in words for words in rig.machine.ran
    )


def test_an_osd_that_is_up_is_not_destroyed(rig: Rig) -> None:
    running(rig)
    with pytest.raises(Exception, match=r"osd is in use \(in == 1\)"):
        rig.call("DELETE", f"/nodes/{NODE}/ceph/osd/1")


def test_settings_that_failed_are_named_and_the_others_applied(rig: Rig) -> None:
    running(rig)
    path = f"/nodes/{NODE}/ceph/pool/rbd-vms"
    status, log = rig.task(rig.call("PUT", path, size=2, pg_autoscale_mode="on"))
    assert status == "OK" and "pool rbd-vms: applying size = 2" in log
    FakeRados.refused["osd pool set"] = (-22, "pg_num too large")
    status, log = rig.task(rig.call("PUT", path, pg_num=64, size=3, pg_autoscale_mode="off"))
    assert status == "Could not set: pg_num", log
    assert "skipping size, did not change" in log


def test_sizes_are_bytes_for_ceph() -> None:
    assert pools.settings({"target_size": "1.5G", "size": 3, "add_storages": 1}) == {
        "target_size_bytes": 3 << 29,
        "size": 3,
    }


def test_before_init_everything_says_so(rig: Rig) -> None:
    with pytest.raises(Exception, match="pveceph configuration not initialized"):
        rig.call("GET", "/cluster/ceph/status")
    initialised(rig)
    with pytest.raises(Exception, match="no monitor is configured"):
        rig.call("GET", "/cluster/ceph/status")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["/dev/x", "--encrypted", "1"], (["/dev/x"], {"encrypted": "1"})),
        (["vms", "--size=3", "--add_storages"], (["vms"], {"size": "3", "add_storages": "1"})),
        (["--network", "10.6.0.0/24", "--cluster-network", "10.7.0.0/24"],
         ([], {"network": "10.6.0.0/24", "cluster-network": "10.7.0.0/24"})),
    ],
)  # fmt: skip
def test_the_command_line(words: Sequence[str], wanted: tuple[list[str], dict[str, str]]) -> None:
    assert pveceph.options(words) == wanted


def test_pveceph_calls_the_same_endpoint(machine: FakeMachine) -> None:
    from lab.standins.proxmox.daemon import endpoints

    endpoints.load()
    machine.write(units.BINARIES["ceph_bin"], "")
    pveceph.run(machine, pveceph.COMMANDS["init"], ["--network", "10.9.0.0/24"], {})
    assert conf.load(machine)["global"]["public_network"] == "10.9.0.0/24"
    with pytest.raises(pveceph.UsageError, match="not enough arguments"):
        pveceph.run(machine, pveceph.COMMANDS["osd create"], [], {})
    with pytest.raises(ParameterError):
        pveceph.run(machine, pveceph.COMMANDS["init"], ["--nonsense", "1"], {})

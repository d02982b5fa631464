"""The life of a container through the API: what is run, in which order, and what is left."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from proxmoxer import ResourceException

from lab.standins.proxmox.daemon.guests import container_creation, containers, files
from lab.standins.proxmox.daemon.guests.files import Guest
from lab.standins.proxmox.daemon.http.machine import Result

from ..conftest import NODE, Rig
from ..hypervisor import CT, CT_CONF, TEMPLATE, Hypervisor, with_container

BASE = f"/nodes/{NODE}/lxc"
PLACE = f"{BASE}/{CT}"
ORDER = {
    "vmid": CT, "ostemplate": TEMPLATE, "rootfs": "rbd-containers:1", "hostname": "beat-ct", "memory": 64,
    "net0": "name=eth0,bridge=vmbr0,tag=1,ip=10.1.0.201/24",
}  # fmt: skip
IMAGE = "rbd-containers/vm-101-disk-0"
FAILED = Result(3, "", "")


def ran(rig: Rig, *programs: str) -> list[str]:
    return [" ".join(words) for words in rig.machine.ran if words[0] in programs]


def values(rig: Rig, vmid: int = CT) -> dict[str, str]:
    return files.load(rig.machine, Guest(vmid, "lxc", NODE)).values


def refused(rig: Rig, method: str, path: str, /, **params: Any) -> tuple[int, str, Any]:
    with pytest.raises(ResourceException) as error:
        rig.call(method, path, **params)
    return error.value.status_code, error.value.content, error.value.errors


def test_a_container_is_made_from_a_template(rig: Rig, node: Hypervisor) -> None:
    status, log = rig.task(rig.call("POST", BASE, **ORDER))
    assert status == "OK", log
    assert node.images == {IMAGE: 1 << 30}
    made = values(rig)
    assert made["rootfs"] == "rbd-containers:vm-101-disk-0,size=1G"
    assert (made["memory"], made["swap"], made["ostype"], made["arch"]) == ("64", "512", "unmanaged", "amd64")
    assert made["net0"].startswith("name=eth0,bridge=vmbr0,hwaddr=BC:24:11:")
    assert "lock" not in made
    steps = [line.split()[0] for line in ran(rig, "rbd", "mkfs.ext4", "mount", "sh", "umount")]
    assert steps == ["rbd", "mkfs.ext4", "mount", "sh", "umount", "rbd"]
    assert "-O mmp" in ran(rig, "mkfs.ext4")[0], "nothing would see that another node has the volume mounted"
    assert rig.call("GET", f"{PLACE}/status/current")["status"] == "stopped"


def test_an_unprivileged_one_belongs_to_nobody(rig: Rig, node: Hypervisor) -> None:
    assert rig.task(rig.call("POST", BASE, **ORDER, unprivileged=1))[0] == "OK"
    assert rig.call("GET", f"{PLACE}/config")["unprivileged"] == 1
    assert "root_owner=100000:100000" in ran(rig, "mkfs.ext4")[0]
    assert "lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- tar" in ran(rig, "sh")[0]
    assert rig.task(rig.call("POST", f"{PLACE}/status/start"))[0] == "OK"
    assert "lxc.idmap = u 0 100000 65536" in rig.machine.read("/var/lib/lxc/101/config")
    said = refused(rig, "PUT", f"{PLACE}/config", unprivileged=0)
    assert said[1] == "unable to modify read-only option: 'unprivileged'"


@pytest.mark.parametrize(("name", "flag"), [("x.tar", "w"), ("x.tar.gz", "w:gz"), ("x.tar.xz", "w:xz")])
def test_a_template_is_unpacked_with_its_owners_and_without_devices(
    tmp_path: Path, name: str, flag: Any
) -> None:
    """By the very command that is run for a privileged container."""
    place = tmp_path / "root"
    place.mkdir()
    with tarfile.open(tmp_path / name, flag) as archive:
        for path, mode in (("./sbin/init", 0o755), ("./dev/null", 0o666), ("./etc/dev/kept", 0o600)):
            entry = tarfile.TarInfo(path)
            entry.mode = mode
            archive.addfile(entry, io.BytesIO())
    command = container_creation.unpack(tmp_path / name, str(place), unprivileged=False)
    subprocess.run(command, check=True, timeout=60)
    found = {str(path.relative_to(place)): path.stat().st_mode & 0o777 for path in place.rglob("*")}
    assert found.keys() == {"sbin", "sbin/init", "etc", "etc/dev", "etc/dev/kept"}
    assert (found["sbin/init"], found["etc/dev/kept"]) == (0o755, 0o600)


def test_one_that_cannot_be_filled_leaves_nothing(rig: Rig, node: Hypervisor) -> None:
    node.refuses["sh"] = "tar: not an archive"
    status, _ = rig.task(rig.call("POST", BASE, **ORDER))
    assert status.endswith("tar: not an archive")
    assert node.images == {} and files.everywhere(rig.machine) == {}
    assert "/dev/rbd" not in rig.machine.read("/proc/mounts")
    assert not list(rig.machine.file("/sys/bus/rbd/devices").glob("*"))


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"ostemplate": "local:vztmpl/none.tar.gz"}, 500, "volume 'local:vztmpl/none.tar.gz' does not exist"),
        ({"ostemplate": "cephfs:iso/beat.iso"}, 500, "is no template of a container"),
        ({"ostemplate": "beat.tar.gz"}, 500, "unable to parse volume ID 'beat.tar.gz'"),
        ({"rootfs": "nowhere:1"}, 500, "storage 'nowhere' does not exist"),
        ({"rootfs": "rbd-vms:1"}, 400, "does not support container directories"),
        ({"rootfs": "rbd-containers:vm-1-disk-0"}, 400, "orders no new volume"),
        ({"memory": 8}, 400, "value must have a minimum value of 16"),
        ({"net0": "bridge=vmbr0"}, 400, "name: property is missing"),
        ({"hostname": "no_name"}, 400, "valid DNS name"),
        ({"colour": "red"}, 400, "property is not defined in schema"),
    ],
)
def test_what_cannot_be_made(
    rig: Rig, node: Hypervisor, changed: dict[str, Any], status: int, said: str
) -> None:
    code, reason, errors = refused(rig, "POST", BASE, **{**ORDER, **changed})
    assert code == status and said in f"{reason} {errors}"
    assert files.everywhere(rig.machine) == {} and node.images == {}


def test_a_vmid_is_taken_once(rig: Rig) -> None:
    with_container(rig)
    wanted = f"unable to create CT 101 - CT 101 already exists on node '{NODE}'"
    assert refused(rig, "POST", BASE, **ORDER)[:2] == (500, wanted)
    assert rig.call("GET", "/cluster/nextid") == "100"
    assert refused(rig, "GET", "/cluster/nextid", vmid=CT)[0] == 400


def test_starting_and_stopping(rig: Rig) -> None:
    node = with_container(rig)
    assert rig.task(rig.call("POST", f"{PLACE}/status/start"))[0] == "OK"
    assert node.containers == {CT}
    assert "lxc.rootfs.path = dir:/var/lib/lxc/101/rootfs" in rig.machine.read("/var/lib/lxc/101/config")
    assert rig.machine.file("/var/lib/lxc/101/net0.up").stat().st_mode & 0o111
    found = rig.call("GET", f"{PLACE}/status/current")
    assert (found["status"], found["pid"], found["uptime"]) == ("running", 4242, 100)
    assert refused(rig, "POST", f"{PLACE}/status/start")[:2] == (500, "CT 101 already running")
    assert refused(rig, "DELETE", PLACE)[1] == "unable to destroy CT 101 - container is running"
    assert rig.task(rig.call("POST", f"{PLACE}/status/stop"))[0] == "OK"
    assert node.containers == set() and "rbd" not in rig.machine.read("/proc/mounts")
    assert refused(rig, "POST", f"{PLACE}/status/stop")[:2] == (500, "CT 101 not running")
    assert ran(rig, "lxc-stop") == ["lxc-stop -n 101 --kill"]


def test_one_that_does_not_come_up_says_why_and_holds_nothing(rig: Rig) -> None:
    with_container(rig)

    def fails(words: Any) -> str:
        if words[1] == "start":
            rig.machine.write("/run/pve/ct-101.stderr", "lxc-start: no init\n")
        return ""

    rig.machine.answers["systemctl"] = lambda words: FAILED if words[1] == "is-active" else fails(words)
    status, log = rig.task(rig.call("POST", f"{PLACE}/status/start"))
    assert status == "startup for container '101' failed" and "lxc-start: no init" in log
    assert ran(rig, "systemctl")[-1] == "systemctl stop pve-container@101.service"


@pytest.mark.parametrize("program", ["mount", "systemctl"])
def test_one_that_cannot_start_holds_no_image(rig: Rig, program: str) -> None:
    """Another node could not have it."""
    node = with_container(rig)
    systemctl = rig.machine.answers["systemctl"]
    if program == "mount":
        node.refuses["mount"] = "mount: MMP: another node has it mounted"
    else:
        rig.machine.answers["systemctl"] = lambda words: (
            Result(1, "", "Job failed") if words[1] == "start" else systemctl(words)
        )
    assert rig.task(rig.call("POST", f"{PLACE}/status/start"))[0] != "OK"
    assert "/dev/rbd" not in rig.machine.read("/proc/mounts")
    assert not list(rig.machine.file("/sys/bus/rbd/devices").glob("*"))


def test_one_that_just_ended_is_waited_for(rig: Rig) -> None:
    """Its unit's last command would else unmount what was mounted for the new start."""
    with_container(rig)
    assert rig.task(rig.call("POST", f"{PLACE}/status/start"))[0] == "OK"
    steps = [line for line in ran(rig, "systemctl", "mount") if "reset-failed" not in line]
    assert [line.split()[:2] for line in steps[:3]] == [
        ["systemctl", "stop"],
        ["mount", "/dev/rbd0"],
        ["systemctl", "start"],
    ]


def test_shutting_down_is_asked_for(rig: Rig) -> None:
    node = with_container(rig)
    node.run_container(CT)
    assert rig.task(rig.call("POST", f"{PLACE}/status/shutdown", timeout=7))[0] == "OK"
    assert ran(rig, "lxc-stop") == ["lxc-stop -n 101 --nokill --timeout 7"]


def test_one_that_does_not_heed_is_killed_only_by_force(rig: Rig) -> None:
    node = with_container(rig)
    node.heeds_shutdown = False
    node.run_container(CT)
    assert rig.task(rig.call("POST", f"{PLACE}/status/shutdown"))[0] == "container did not stop"
    assert node.containers == {CT}
    assert rig.task(rig.call("POST", f"{PLACE}/status/shutdown", forceStop=1))[0] == "OK"
    assert node.containers == set()


def test_a_reboot_starts_it_again_with_what_waited(rig: Rig) -> None:
    node = with_container(rig)
    node.run_container(CT)
    rig.call("PUT", f"{PLACE}/config", memory=128, onboot=1, delete="swap")
    assert (values(rig)["memory"], values(rig)["onboot"]) == ("64", "1")
    assert rig.call("GET", f"{PLACE}/config")["memory"] == 128
    assert rig.call("GET", f"{PLACE}/config", current=1)["memory"] == 64
    assert rig.task(rig.call("POST", f"{PLACE}/status/reboot"))[0] == "OK"
    assert (values(rig)["memory"], "swap" in values(rig), node.containers) == ("128", False, {CT})


def test_changes_of_one_that_is_stopped_are_at_once(rig: Rig) -> None:
    with_container(rig)
    digest = rig.call("GET", f"{PLACE}/config")["digest"]
    rig.call("PUT", f"{PLACE}/config", memory=128, digest=digest)
    assert values(rig)["memory"] == "128"
    stale = refused(rig, "PUT", f"{PLACE}/config", memory=256, digest=digest)
    assert stale[1] == "detected modified configuration - file changed by other user? Try again."


@pytest.mark.parametrize(
    ("params", "name"),
    [({"delete": "rootfs"}, "delete"), ({"rootfs": "rbd-containers:2"}, "rootfs"),
     ({"memory": 64, "delete": "memory"}, "delete"), ({"tags": "a\nlock: create"}, "tags")],
)  # fmt: skip
def test_changes_that_are_refused(rig: Rig, params: dict[str, Any], name: str) -> None:
    with_container(rig)
    code, _, errors = refused(rig, "PUT", f"{PLACE}/config", **params)
    assert (code, list(errors)) == (400, [name])
    assert values(rig) == CT_CONF


@pytest.mark.parametrize("path", ["status/start", "config"])
def test_a_locked_one_is_left_alone(rig: Rig, path: str) -> None:
    with_container(rig, lock="migrate")
    if path == "config":
        assert refused(rig, "PUT", f"{PLACE}/config", memory=128)[1] == "CT is locked (migrate)"
    else:
        assert rig.task(rig.call("POST", f"{PLACE}/{path}"))[0] == "CT is locked (migrate)"


def test_destroying_takes_the_volume_along(rig: Rig) -> None:
    node = with_container(rig)
    rig.task(rig.call("POST", f"{PLACE}/status/start"))
    rig.task(rig.call("POST", f"{PLACE}/status/stop"))
    assert rig.task(rig.call("DELETE", PLACE))[0] == "OK"
    assert node.images == {} and files.everywhere(rig.machine) == {}
    assert refused(rig, "GET", f"{PLACE}/config")[:2] == (
        500,
        f"Configuration file 'nodes/{NODE}/lxc/101.conf' does not exist",
    )


def test_protection(rig: Rig) -> None:
    node = with_container(rig, protection="1")
    assert refused(rig, "DELETE", PLACE)[1] == "can't remove CT 101 - protection mode enabled"
    assert IMAGE in node.images


def test_what_is_mounted_is_never_removed_with_its_folder(rig: Rig) -> None:
    with_container(rig)
    kept = rig.machine.file("/var/lib/lxc/101/rootfs/etc/passwd")
    rig.machine.write("/var/lib/lxc/101/config", "")
    rig.machine.write("/var/lib/lxc/101/rootfs/etc/passwd", "root")
    with pytest.raises(OSError, match="not empty"):
        containers.forget(rig.machine, CT)
    assert kept.exists()


def test_without_quorum_nothing_starts(rig: Rig) -> None:
    node = with_container(rig)
    rig.cluster("pve-b")
    rig.machine.answers["corosync-quorumtool"] = lambda _: "Quorate:          No\n0x00000001          1 a\n"
    assert refused(rig, "POST", f"{PLACE}/status/start")[:2] == (500, "cluster not ready - no quorum?")
    assert node.containers == set()


def test_who_may_not_see_a_guest_sees_none(rig: Rig) -> None:
    with_container(rig)
    rig.call("POST", "/access/users", userid="ops@pve", password="long enough")
    client = rig.login("ops@pve", "long enough")
    assert client(BASE.strip("/")).get() == []
    assert client("cluster/resources").get(type="vm") == []
    with pytest.raises(ResourceException, match=r"Permission check failed \(/vms/101, VM\.PowerMgmt\)"):
        client(f"{PLACE}/status/start".strip("/")).post()
    rig.call("PUT", "/access/acl", path="/vms/101", users="ops@pve", roles="PVEVMUser")
    assert [entry["vmid"] for entry in client(BASE.strip("/")).get()] == [CT]


@pytest.mark.parametrize(
    ("kind", "order"),
    [("lxc", ORDER), ("qemu", {"vmid": CT, "scsi0": "rbd-vms:1"})],
)
def test_who_may_make_guests(rig: Rig, node: Hypervisor, kind: str, order: dict[str, Any]) -> None:
    """It takes the guest's number and its storage."""
    rig.call("POST", "/access/users", userid="ops@pve", password="long enough")
    place = rig.login("ops@pve", "long enough")(f"nodes/{NODE}/{kind}")
    storage = "rbd-containers" if kind == "lxc" else "rbd-vms"
    for path, role, said in (
        ("/vms/101", "PVEVMAdmin", r"Permission check failed \(/vms/101, VM\.Allocate\)"),
        (f"/storage/{storage}", "PVEDatastoreUser", rf"Permission check failed \(/storage/{storage}, "),
    ):
        with pytest.raises(ResourceException, match=said):
            place.post(**order)
        rig.call("PUT", "/access/acl", path=path, users="ops@pve", roles=role)
    assert rig.task(place.post(**order))[0] == "OK"


def test_the_share_of_the_processor_is_of_the_last_second_or_more(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = with_container(rig)
    node.run_container(CT)
    clock = iter([1000.0, 1010.0, 1010.5])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    from lab.standins.proxmox.daemon.guests import status

    shares = []
    for used in (0, 5_000_000, 9_000_000):
        rig.machine.write(f"/sys/fs/cgroup/lxc/{CT}/cpu.stat", f"usage_usec {used}\n")
        shares.append(status.of(rig.machine, Guest(CT, "lxc", NODE))["cpu"])
    assert shares == [0.0, 0.5, 0.5]

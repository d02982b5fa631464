"""The life of a virtual machine through the API."""

from __future__ import annotations

from typing import Any

import pytest
from proxmoxer import ResourceException

from lab.standins.proxmox.daemon.guests import files, qmp
from lab.standins.proxmox.daemon.guests.files import Guest
from lab.standins.proxmox.daemon.http.errors import ApiError

from ..conftest import NODE, Rig
from ..hypervisor import ISO, QEMU, VM, VM_CONF, Hypervisor, with_machine

BASE = f"/nodes/{NODE}/qemu"
PLACE = f"{BASE}/{VM}"
ORDER = {
    "vmid": VM, "name": "beat-vm", "memory": 64, "scsi0": "rbd-vms:1", "ide2": f"{ISO},media=cdrom",
    "net0": "virtio,bridge=vmbr0,tag=1", "scsihw": "virtio-scsi-pci",
}  # fmt: skip


def values(rig: Rig) -> dict[str, str]:
    return files.load(rig.machine, Guest(VM, "qemu", NODE)).values


def refused(rig: Rig, method: str, path: str, /, **params: Any) -> tuple[int, str, Any]:
    with pytest.raises(ResourceException) as error:
        rig.call(method, path, **params)
    return error.value.status_code, error.value.content, error.value.errors


def qemu(rig: Rig) -> list[str]:
    """The command line that was run last."""
    return next(words for words in reversed(rig.machine.ran) if words[0] == "systemd-run")


def test_a_machine_is_made_with_its_disk(rig: Rig, node: Hypervisor) -> None:
    status, log = rig.task(rig.call("POST", BASE, **ORDER))
    assert status == "OK", log
    assert "scsi0: successfully created disk 'rbd-vms:vm-102-disk-0,size=1G'" in log
    assert node.images == {"rbd-vms/vm-102-disk-0": 1 << 30}
    made = values(rig)
    assert made["scsi0"] == "rbd-vms:vm-102-disk-0,size=1G"
    assert made["ide2"] == f"{ISO},media=cdrom,size=1M"
    assert made["boot"] == "order=scsi0;ide2;net0"
    assert made["net0"].startswith("virtio=BC:24:11:") and "lock" not in made


def test_disks_are_numbered_past_those_there_are(rig: Rig, node: Hypervisor) -> None:
    node.images["rbd-vms/vm-102-disk-0"] = 7
    assert rig.task(rig.call("POST", BASE, **ORDER, scsi1="rbd-vms:0.5"))[0] == "OK"
    assert node.images == {
        "rbd-vms/vm-102-disk-0": 7,
        "rbd-vms/vm-102-disk-1": 1 << 30,
        "rbd-vms/vm-102-disk-2": 1 << 29,
    }
    assert values(rig)["scsi1"] == "rbd-vms:vm-102-disk-2,size=512M"


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"scsi0": "rbd-containers:1"}, 400, "does not support vm images"),
        ({"scsi0": "1"}, 500, "no storage ID specified (and no default storage)"),
        ({"ide2": ISO}, 400, "explicit 'media=cdrom' is required for iso images"),
        ({"ide2": "cephfs:iso/none.iso,media=cdrom"}, 500, "volume 'cephfs:iso/none.iso' does not exist"),
        ({"ide2": "local:vztmpl/beat.tar.gz,media=cdrom"}, 400, "content type needs to be 'images' or 'iso'"),
        ({"net0": "ne2000,bridge=vmbr0"}, 400, "model: value 'ne2000' does not have a value"),
        ({"scsi31": "rbd-vms:1"}, 400, "property is not defined in schema"),
        ({"boot": "cdn"}, 400, "value does not match the regex pattern"),
        ({"scsihw": "megasas"}, 400, "does not have a value in the enumeration"),
    ],
)
def test_what_cannot_be_made(
    rig: Rig, node: Hypervisor, changed: dict[str, Any], status: int, said: str
) -> None:
    code, reason, errors = refused(rig, "POST", BASE, **{**ORDER, **changed})
    assert code == status and said in f"{reason} {errors}"
    assert files.everywhere(rig.machine) == {} and node.images == {}


def test_one_whose_second_disk_cannot_be_made_leaves_nothing(
    rig: Rig, node: Hypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lab.standins.proxmox.daemon.guests import images

    made = images.create

    def once(*arguments: Any) -> Any:
        if node.images:
            raise ApiError(500, "rbd error: full")
        return made(*arguments)

    monkeypatch.setattr(images, "create", once)
    status, _ = rig.task(rig.call("POST", BASE, **ORDER, scsi1="rbd-vms:1"))
    assert status == "rbd error: full"
    assert node.images == {} and files.everywhere(rig.machine) == {}


def test_arguments_of_ones_own_are_roots_alone(rig: Rig, node: Hypervisor) -> None:
    rig.call("POST", "/access/users", userid="ops@pve", password="long enough")
    rig.call("PUT", "/access/acl", path="/", users="ops@pve", roles="PVEAdmin")
    with pytest.raises(ResourceException, match="only root can set 'args' config"):
        rig.login("ops@pve", "long enough")(BASE.strip("/")).post(**ORDER, args="-S")
    assert rig.task(rig.call("POST", BASE, **ORDER, args="-S"))[0] == "OK"


def test_starting_in_a_scope_of_its_own(rig: Rig) -> None:
    with_machine(rig)
    assert rig.task(rig.call("POST", f"{PLACE}/status/start"))[0] == "OK"
    command = qemu(rig)
    assert command[:5] == ["systemd-run", "--quiet", "--scope", "--slice=qemu", "--unit=102"]
    assert any('"driver": "rbd", "pool": "rbd-vms", "image": "vm-102-disk-0"' in word for word in command)
    assert rig.machine.file("/run/qemu-server/102.net0.up").stat().st_mode & 0o111
    found = rig.call("GET", f"{PLACE}/status/current")
    assert (found["status"], found["qmpstatus"], found["uptime"]) == ("running", "running", 100)
    assert refused(rig, "POST", f"{PLACE}/status/start")[:2] == (500, "VM 102 already running")
    assert refused(rig, "DELETE", PLACE)[1] == "VM 102 is running - destroy failed"


def test_qemus_own_words_when_it_refuses(rig: Rig) -> None:
    node = with_machine(rig)
    node.refuses["systemd-run"] = "first line\nqemu-system-x86_64: error reading header"
    status, _ = rig.task(rig.call("POST", f"{PLACE}/status/start"))
    assert status == "start failed: QEMU exited with code 1: qemu-system-x86_64: error reading header"


@pytest.mark.parametrize(
    ("kvm", "device", "wanted"), [("1", True, "kvm64"), ("0", True, "qemu64"), ("1", False, "qemu64")]
)
def test_the_nodes_processor_where_it_can(rig: Rig, kvm: str, device: bool, wanted: str) -> None:
    with_machine(rig, kvm=kvm)
    if device:
        rig.machine.write("/dev/kvm", "")
    assert rig.task(rig.call("POST", f"{PLACE}/status/start"))[0] == "OK"
    assert wanted in qemu(rig)


def test_stopping_by_the_monitor(rig: Rig) -> None:
    node = with_machine(rig)
    node.run_machine(VM, QEMU)
    assert rig.task(rig.call("POST", f"{PLACE}/status/stop"))[0] == "OK"
    assert node.qmp == ["qmp_capabilities", "quit"]
    assert rig.call("GET", f"{PLACE}/status/current")["status"] == "stopped"
    assert refused(rig, "POST", f"{PLACE}/status/stop")[:2] == (500, "VM 102 not running")


def test_one_whose_monitor_is_silent_is_killed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from lab.standins.proxmox.daemon.guests import machines

    monkeypatch.setattr(machines, "QUIT_DEADLINE_S", 0.1)
    node = with_machine(rig)
    node.run_machine(VM, QEMU)
    rig.machine.file("/run/qemu-server/102.qmp").unlink()
    assert rig.task(rig.call("POST", f"{PLACE}/status/stop"))[0] == "OK"
    assert ["kill", "4242"] in rig.machine.ran


def test_the_power_button(rig: Rig) -> None:
    node = with_machine(rig)
    node.run_machine(VM, QEMU)
    assert rig.task(rig.call("POST", f"{PLACE}/status/shutdown"))[0] == "OK"
    assert "system_powerdown" in node.qmp and "quit" not in node.qmp


def test_one_that_does_not_heed_is_ended_only_by_force(rig: Rig) -> None:
    node = with_machine(rig)
    node.heeds_shutdown = False
    node.run_machine(VM, QEMU)
    status, _ = rig.task(rig.call("POST", f"{PLACE}/status/shutdown", timeout=0))
    assert status == "VM quit/powerdown failed - got timeout" and "quit" not in node.qmp
    assert rig.task(rig.call("POST", f"{PLACE}/status/shutdown", timeout=0, forceStop=1))[0] == "OK"
    assert node.qmp[-1] == "quit"


def test_a_pid_file_that_was_left_names_no_machine(rig: Rig) -> None:
    node = with_machine(rig)
    for words in ([*QEMU[:2], "/run/qemu-server/1021.pid"], ["sleep", "/run/qemu-server/102.pid"]):
        node.run_machine(VM, words)
        assert rig.call("GET", f"{PLACE}/status/current")["status"] == "stopped"
        node.end_machine()


def test_disks_stay_as_they_were_made_and_a_cd_may_change(rig: Rig) -> None:
    with_machine(rig)
    rig.call("PUT", f"{PLACE}/config", ide2="none,media=cdrom", cores=2)
    assert (values(rig)["ide2"], values(rig)["cores"]) == ("none,media=cdrom", "2")
    for params, name in (
        ({"scsi0": "rbd-vms:vm-102-disk-7"}, "scsi0"),
        ({"scsi1": "rbd-vms:1"}, "scsi1"),
        ({"delete": "scsi0"}, "delete"),
        ({"ide2": "cephfs:iso/beat.iso"}, "ide2"),
    ):
        code, _, errors = refused(rig, "PUT", f"{PLACE}/config", **params)
        assert (code, list(errors)) == (400, [name])
    rig.call("PUT", f"{PLACE}/config", scsi0="rbd-vms:vm-102-disk-0,cache=writeback")
    assert values(rig)["scsi0"] == "rbd-vms:vm-102-disk-0,cache=writeback"


def test_destroying_takes_its_own_disks_along_and_no_iso(rig: Rig) -> None:
    node = with_machine(rig)
    node.images["rbd-vms/vm-103-disk-0"] = 1
    assert rig.task(rig.call("DELETE", PLACE))[0] == "OK"
    assert node.images == {"rbd-vms/vm-103-disk-0": 1} and files.everywhere(rig.machine) == {}
    assert rig.machine.file("/mnt/pve/cephfs/template/iso/beat.iso").exists()


def test_a_monitor_that_is_not_there(rig: Rig) -> None:
    node = with_machine(rig)
    node.run_machine(VM, QEMU)
    rig.machine.file("/run/qemu-server/102.qmp").unlink()
    found = rig.call("GET", f"{PLACE}/status/current")
    assert (found["status"], found["qmpstatus"]) == ("running", "running")
    with pytest.raises(ApiError, match="VM 102 qmp command 'cont' failed - "):
        qmp.ask(rig.machine, VM, "cont")


def test_the_configuration_is_shown_with_its_types(rig: Rig) -> None:
    with_machine(rig)
    found = rig.call("GET", f"{PLACE}/config")
    assert (found["cores"], found["memory"], found["scsi0"]) == (1, "64", VM_CONF["scsi0"])

"""What golden guests are made from: the same bytes each time, whole, and alive once it is started."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.errors import UnreachableError
from cluster.site import ROOT, Site, load
from cluster.site_services import Guest
from provisioners.guests import archives, busybox, images, kernel, medium, root
from provisioners.guests.archives import Member
from provisioners.guests.order import image

IMAGE = b"\0" * 0x202 + b"HdrS" + bytes(range(256)) * 64
LIMIT_S = 20.0
BOOT = """\
mount --bind {tree} {tree} && mount -t proc proc {tree}/proc && mount --bind /dev {tree}/dev &&
ip link add eth0 type veth peer name wire0 && ip link set wire0 up && exec chroot {tree} /sbin/init
"""


@pytest.fixture(scope="module")
def pve1() -> Site:
    """A site that orders guests."""
    return load(ROOT / "sites/pve1.toml")


@pytest.fixture(scope="module")
def program() -> bytes:
    return busybox.find()


def of(site: Site, kind: str) -> Guest:
    return next(guest for guest in site.guests if guest.kind == kind)


def unpacked(data: bytes, folder: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        archive.extractall(folder, filter="tar")
    return folder


def listed(ramdisk: bytes, folder: Path) -> Path:
    """A RAM disk as another program unpacks it."""
    command = [shutil.which("busybox") or "busybox", "cpio", "-i", "-d", "-m"]
    subprocess.run(command, cwd=folder, input=gzip.decompress(ramdisk), check=True, timeout=30)
    return folder


def test_archives_keep_what_they_are_given_and_are_the_same_each_time(tmp_path: Path) -> None:
    members = [
        Member("bin"),
        Member("bin/program", 0o755, b"one"),
        Member("bin/other", link="program"),
        Member("etc"),
        Member("etc/empty", 0o640, b""),
    ]
    for number, (made, again, open_it) in enumerate(
        [
            (archives.tar_gz(members), archives.tar_gz(members), unpacked),
            (archives.cpio_gz(members), archives.cpio_gz(members), listed),
        ]
    ):
        assert made == again
        folder = tmp_path / str(number)
        folder.mkdir()
        tree = open_it(made, folder)
        assert (tree / "bin/program").read_bytes() == b"one"
        assert (tree / "bin/other").readlink() == Path("program")
        assert (tree / "bin/program").stat().st_mode & 0o777 == 0o755
        assert (tree / "etc/empty").read_bytes() == b""
        assert (tree / "etc/empty").stat().st_mode & 0o777 == 0o640
        assert (tree / "bin/program").stat().st_mtime == 0


def test_a_ram_disk_has_a_console(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("device files need root")
    ramdisk = archives.cpio_gz([Member("dev"), Member("dev/console", 0o600, device=archives.CONSOLE)])
    found = (listed(ramdisk, tmp_path) / "dev/console").stat()
    assert (os.major(found.st_rdev), os.minor(found.st_rdev)) == (5, 1)


def test_a_template_is_the_same_each_time_and_lists_no_device(pve1: Site, program: bytes) -> None:
    guest = of(pve1, "container")
    made = archives.tar_gz(root.container(pve1, guest, program))
    assert made == archives.tar_gz(root.container(pve1, guest, program))
    with tarfile.open(fileobj=io.BytesIO(made)) as archive:
        assert not any(entry.isdev() for entry in archive)
        assert {(entry.uid, entry.gid, entry.mtime) for entry in archive} == {(0, 0, 0)}


def test_a_guest_knows_its_name_address_and_gateway(pve1: Site) -> None:
    guest = of(pve1, "container")
    assert root.identity(pve1, guest) == b"NAME=beat-ct\nADDRESS=10.31.0.201/24\nGATEWAY=''\n"


@pytest.fixture
def started(pve1: Site, program: bytes, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The template's own first process in namespaces of its own, as a container's is."""
    if os.geteuid() != 0:
        pytest.skip("namespaces need root")
    tree = tmp_path / "tree"
    tree.mkdir()
    unpacked(archives.tar_gz(root.container(pve1, of(pve1, "container"), program)), tree)
    words = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c"]
    process = subprocess.Popen([*words, BOOT.format(tree=tree)], stdin=subprocess.DEVNULL)
    yield process
    process.kill()
    process.wait(10)


def first_process(process: subprocess.Popen[bytes]) -> int:
    """The container's first process as this machine numbers it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(children[0]) if children else 0


def web_server(process: subprocess.Popen[bytes]) -> int:
    """Its process as this machine numbers it."""
    first = first_process(process)
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return next(int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == "httpd")


def inside(process: subprocess.Popen[bytes], *command: str) -> str:
    words = ["nsenter", "-t", str(first_process(process)), "--net", "--mount", *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=10, check=False).stdout


def beat(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        assert process.poll() is None, "its first process ended"
        text = inside(process, "busybox", "wget", "-q", "-O", "-", "http://10.31.0.201:8080/beat")
        if text:
            found: dict[str, Any] = json.loads(text)
            return found
        time.sleep(0.05)
    raise AssertionError(f"no heartbeat within {LIMIT_S:g} s")


def test_the_template_starts_as_a_container_and_ends_when_it_is_asked_to(
    started: subprocess.Popen[bytes],
) -> None:
    found = beat(started)
    assert found["guest"] == "beat-ct" and found["counter"] > 0
    assert found["host"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    status = Path(f"/proc/{web_server(started)}/status").read_text()
    assert "Uid:\t65534\t65534" in status, "what listens to the network has no rights"
    address = json.loads(inside(started, "ip", "-j", "address", "show", "dev", "eth0"))
    assert [(a["local"], a["prefixlen"]) for a in address[0]["addr_info"] if a["family"] == "inet"] == [
        ("10.31.0.201", 24)
    ]
    subprocess.run(["kill", "-PWR", str(first_process(started))], check=True)  # as lxc-stop does
    assert started.wait(10) == 0


def test_a_medium_is_the_same_each_time_and_has_what_a_boot_loader_needs(
    pve1: Site, program: bytes, tmp_path: Path
) -> None:
    guest = of(pve1, "vm")
    modules = [("virtio.ko", b"module one"), ("virtio_net.ko", b"module two")]
    ramdisk = archives.cpio_gz(root.machine(pve1, guest, program, modules))
    one, other = tmp_path / "one.iso", tmp_path / "other.iso"
    medium.build(IMAGE, ramdisk, "BEAT", one)
    time.sleep(1.1)  # a second later, which is what a time in the image would show
    medium.build(IMAGE, ramdisk, "BEAT", other)
    assert one.read_bytes() == other.read_bytes()
    words = ["xorriso", "-indev", str(one), "-report_el_torito", "plain", "-osirrox", "on"]
    words += ["-extract", "/", str(tmp_path / "tree")]
    report = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "BIOS" in report and "/isolinux/isolinux.bin" in report.lower()
    found = {path.name.lower(): path for path in (tmp_path / "tree").rglob("*") if path.is_file()}
    assert found["vmlinuz"].read_bytes() == IMAGE
    assert b"initrd=/boot/initrd.gz" in found["isolinux.cfg"].read_bytes()
    (tmp_path / "ram").mkdir()
    tree = listed(found["initrd.gz"].read_bytes(), tmp_path / "ram")
    order = (tree / "modules/order").read_text().split()
    assert [(tree / "modules" / name).read_bytes() for name in order] == [b"module one", b"module two"]
    assert os.access(tree / "init", os.X_OK) and (tree / "bin/sh").resolve().name == "busybox"


def sections(**changes: str) -> dict[str, str]:
    """What a node says of its kernel."""
    packed = base64.encodebytes(lzma.compress(b"module one")).decode()
    plain = base64.encodebytes(b"module two").decode()
    said = {
        "release": "6.14.8-2-pve\n",
        "kernel": base64.encodebytes(IMAGE).decode(),
        "sum": f"{hashlib.sha256(IMAGE).hexdigest()}  -\n",
        "paths": "builtin virtio_pci\ninsmod /lib/modules/x/virtio.ko.xz \n",
        "modules": f"= /lib/modules/x/virtio.ko.xz\n{packed}= /lib/modules/x/virtio_net.ko.zst\n{plain}",
    }
    return {**said, **changes}


def test_a_nodes_kernel_comes_with_its_modules_in_order() -> None:
    found = kernel.parse("node1", sections())
    assert (found.release, found.image) == ("6.14.8-2-pve", IMAGE)
    assert found.modules == (("virtio.ko", b"module one"), ("virtio_net.ko", b"module two"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kernel": ""}, "did not arrive whole"),
        ({"kernel": "%%%"}, "did not arrive whole"),
        ({"sum": "0" * 64}, "did not arrive whole"),
        (
            {"paths": "lacks virtio_blk\n"},
            "has no virtio_blk; expected .*, or guest.kernel",
        ),
    ],
)
def test_half_a_kernel_is_none(changes: dict[str, str], said: str) -> None:
    with pytest.raises(kernel.KernelError, match=said):
        kernel.parse("node1", sections(**changes))


def test_a_kernel_of_the_site_is_looked_at_before_it_is_used(tmp_path: Path) -> None:
    good, bad = tmp_path / "bzImage", tmp_path / "vmlinux"
    good.write_bytes(IMAGE)
    bad.write_bytes(b"\x7fELF" + b"\0" * 1024)
    assert kernel.of_file(good, "guest.beat-vm.kernel").image == IMAGE
    with pytest.raises(kernel.KernelError, match=r"guest\.beat-vm\.kernel: .*vmlinux: is no kernel for x86"):
        kernel.of_file(bad, "guest.beat-vm.kernel")
    with pytest.raises(kernel.KernelError, match="cannot be read"):
        kernel.of_file(tmp_path / "none", "guest.beat-vm.kernel")


def test_the_nodes_script_reads_kernel_and_modules(tmp_path: Path) -> None:
    """On this machine, with a kernel and tools of its own in the place of the node's."""
    programs = {
        "uname": "echo 6.1-test",
        "modprobe": 'case $2 in virtio_pci) echo "builtin virtio_pci";; evdev) exit 1;;'
        f" *) echo 'insmod {tmp_path}/virtio.ko '; echo \"insmod {tmp_path}/$2.ko.xz option=1\";; esac",
    }
    (tmp_path / "bin").mkdir()
    for name, body in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "vmlinuz-6.1-test").write_bytes(IMAGE)
    (tmp_path / "virtio.ko").write_bytes(b"virtio")
    for name in ("virtio_blk", "virtio_net", "button"):
        (tmp_path / f"{name}.ko.xz").write_bytes(lzma.compress(name.encode()))
    script = kernel.script().replace("/boot/", f"{tmp_path}/")
    gather = f'section() {{ echo "== $1"; }}\n{script}'
    done = subprocess.run(
        ["sh", "-c", gather],
        capture_output=True,
        text=True,
        env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
        check=True,
        timeout=30,
    )
    parts = [part.split("\n", 1) for part in done.stdout.split("== ")[1:]]
    found = kernel.parse("node1", dict(parts))
    assert found.image == IMAGE
    names = ["virtio.ko", "virtio_blk.ko", "virtio_net.ko", "button.ko"]
    assert [name for name, _ in found.modules] == names
    assert [body for _, body in found.modules] == [b"virtio", b"virtio_blk", b"virtio_net", b"button"]


def elf(machine: int = 62, bits: int = 2, interpreter: bool = False) -> bytes:
    head = bytearray(64)
    head[:5] = b"\x7fELF" + bytes([bits])
    head[18:20] = machine.to_bytes(2, "little")
    head[32:40] = (64).to_bytes(8, "little")
    head[54:58] = (56).to_bytes(2, "little") + (2).to_bytes(2, "little")
    kinds = (1, 3 if interpreter else 2)
    return bytes(head) + b"".join(kind.to_bytes(4, "little").ljust(56, b"\0") for kind in kinds)


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (b"#!/bin/sh\n", "is no 64-bit program"),
        (elf(bits=1), "is no 64-bit program"),
        (elf(machine=183), "is no program for amd64"),
        (elf(interpreter=True), "needs shared libraries"),
        (elf(), ""),
    ],
)
def test_only_a_program_that_runs_alone_is_put_into_a_guest(program: bytes, why: str) -> None:
    assert busybox.unfit(program) == why


def test_without_busybox_it_is_said_which_package_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(busybox.BusyboxError, match="Debian package busybox-static"):
        busybox.find()


@pytest.mark.parametrize(("name", "package"), [("LOADER", "isolinux"), ("MODULE", "syslinux-common")])
def test_without_a_boot_loader_it_is_said_which_package_has_it(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(medium, name, tmp_path / "none")
    with pytest.raises(medium.MediumError, match=f"Debian package {package}"):
        medium.build(IMAGE, b"", "BEAT", tmp_path / "x.iso")


def test_images_are_built_under_the_name_that_is_ordered(
    pve1: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    asked: list[str] = []

    def of_node(cluster: Any, names: list[str], progress: Any) -> kernel.Kernel:
        asked.extend(names)
        return kernel.Kernel("6.1", IMAGE, ())

    monkeypatch.setattr(kernel, "of_node", of_node)
    cluster: Any = SimpleNamespace(site=pve1)
    for guest in pve1.guests:
        made = images.build(cluster, guest, tmp_path, told.append)
        assert made.name == image(pve1, guest) and made.stat().st_size > 100_000
    assert asked == [node.name for node in pve1.nodes] and len(told) == 2


def test_a_node_that_is_silent_is_passed_over(monkeypatch: pytest.MonkeyPatch, pve1: Site) -> None:
    class Silent:
        def __init__(self, spec: Any, ssh: Any) -> None:
            self.name = spec

        def gather(self, script: str, timeout: float) -> dict[str, str]:
            if self.name == "first":
                raise UnreachableError("first did not answer")
            return sections()

    monkeypatch.setattr(kernel, "Node", Silent)
    nodes = {name: SimpleNamespace(spec=name) for name in ("first", "second")}
    cluster: Any = SimpleNamespace(nodes=nodes, ssh=None)
    assert kernel.of_node(cluster, ["first", "second"], lambda _: None).release == "6.14.8-2-pve"
    with pytest.raises(kernel.KernelError, match="no node gives its kernel: first did not answer"):
        kernel.of_node(cluster, ["first"], lambda _: None)

"""The kernel of a golden virtual machine: that of a node of the cluster, or one that the site names.

A node's own kernel is there wherever the guest is to run, and drives the devices that its hypervisor shows.
It is read over the connection that tells nobody: megabytes of it belong in no transcript.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cluster.errors import RackproofError
from cluster.node import Node
from provisioners.change import Progress

if TYPE_CHECKING:
    from cluster.cluster import Cluster

READ_S = 300.0
NEEDED = ("virtio_pci", "virtio_blk", "virtio_net")
WELCOME = ("button", "evdev")
"""For the power button; where a kernel lacks them, a shutdown that is asked for takes its whole time."""
_HEADER, _MAGIC = 0x202, b"HdrS"
# Paths of modules in load order; what is built in has none. zstd is there where a kernel's modules need it.
_SCRIPT = """\
release=$(uname -r)
section release; echo "$release"
section kernel; base64 "/boot/vmlinuz-$release"
section sum; sha256sum < "/boot/vmlinuz-$release"
section paths
for module in {needed}; do
  modprobe --show-depends "$module" || echo "lacks $module"
done
for module in {welcome}; do modprobe --show-depends "$module" 2>/dev/null; done
section modules
for path in $(
  for module in {needed} {welcome}; do modprobe --show-depends "$module"; done 2>/dev/null |
    sed -n 's/^insmod \\([^ ]*\\).*/\\1/p' | awk '!seen[$0]++'); do
  echo "= $path"
  case $path in *.zst) zstd -dc "$path" ;; *) cat "$path" ;; esac | base64
done
"""


class KernelError(RackproofError):
    """There is no kernel that a golden virtual machine could start."""


@dataclass(frozen=True)
class Kernel:
    """A kernel image, and (file name, content) of the modules that it needs, in load order."""

    release: str
    image: bytes
    modules: tuple[tuple[str, bytes], ...] = ()


def script() -> str:
    """What is run on a node."""
    return _SCRIPT.format(needed=" ".join(NEEDED), welcome=" ".join(WELCOME))


def of_file(path: Path, named: str) -> Kernel:
    """A kernel that has its drivers built in. `named`: the key of the site file. Raises KernelError."""
    try:
        image = path.read_bytes()
    except OSError as error:
        raise KernelError(f"{named}: {path} cannot be read ({error.strerror}); expected a kernel") from None
    return Kernel(path.name, checked(image, f"{named}: {path}"))


def of_node(cluster: Cluster, names: Sequence[str], progress: Progress) -> Kernel:
    """The kernel of the first of these nodes that answers. Raises KernelError."""
    silent: list[str] = []
    for name in names:
        progress(f"{name}: reads its kernel for the virtual machine (at most {READ_S:.0f} s)")
        try:
            # No observer: see above.
            sections = Node(cluster.nodes[name].spec, cluster.ssh).gather(script(), READ_S)
        except RackproofError as error:
            silent.append(str(error))
            continue
        return parse(name, sections)
    raise KernelError(f"no node gives its kernel: {'; '.join(silent) or 'there is none'}")


def parse(name: str, sections: dict[str, str]) -> Kernel:
    """The kernel that the sections of `script` hold. Raises KernelError."""
    release = sections.get("release", "").strip()
    image = _decoded(sections.get("kernel", ""), f"{name}: /boot/vmlinuz-{release}")
    if hashlib.sha256(image).hexdigest() != (sections.get("sum", "").split() or [""])[0]:
        raise KernelError(f"{name}: /boot/vmlinuz-{release} did not arrive whole; run again")
    lacking = [line[6:] for line in sections.get("paths", "").splitlines() if line.startswith("lacks ")]
    if lacking:
        raise KernelError(
            f"{name}: its kernel {release} has no {', '.join(lacking)}; expected a kernel with virtio, or"
            " guest.kernel in the site file"
        )
    found: dict[str, bytes] = {}
    for part in sections.get("modules", "").split("= ")[1:]:
        path, _, text = part.partition("\n")
        file, content = _unpacked(path.strip(), _decoded(text, f"{name}: {path.strip()}"))
        found.setdefault(file, content)
    return Kernel(release, checked(image, f"{name}: /boot/vmlinuz-{release}"), tuple(found.items()))


def checked(image: bytes, what: str) -> bytes:
    """The image, if a boot loader can start it (Documentation/arch/x86/boot.rst). Raises KernelError."""
    if image[_HEADER : _HEADER + 4] != _MAGIC:
        raise KernelError(f"{what}: is no kernel for x86; expected a bzImage, as /boot/vmlinuz is")
    return image


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise KernelError(f"{what} did not arrive whole; run again") from None


def _unpacked(path: str, content: bytes) -> tuple[str, bytes]:
    """File name and content of a module; what the node did not unpack is unpacked here."""
    name = PurePosixPath(path).name
    if name.endswith(".xz"):
        return name.removesuffix(".xz"), lzma.decompress(content)
    if name.endswith(".gz"):
        return name.removesuffix(".gz"), gzip.decompress(content)
    return name.removesuffix(".zst"), content

"""Whether KVM works here, found out by booting a kernel: some machines offer a /dev/kvm that cannot.

An ioctl-only probe passes on such machines, so only a Linux that reaches its init counts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.processes import run

MARKER = "KVM-PROBE-OK"
DEADLINE_S = 8
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def accelerator(kernel: Path | None, cache: Path) -> tuple[str, str]:
    """("kvm" or "tcg", a sentence why). The answer is kept until the machine boots again."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg", "no usable /dev/kvm: servers run on emulated processors (TCG), about ten times slower"
    boot = BOOT_ID.read_text(encoding="ascii").strip()
    kept = cache / "kvm-probe.json"
    known = _known(kept, boot)
    if known is None:
        if kernel is None:
            return "tcg", "KVM was not probed for want of a kernel: servers run on emulated processors (TCG)"
        known = probe(kernel, "kvm")
        cache.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({"boot": boot, "works": known}), encoding="ascii")
    if known:
        return "kvm", "KVM works: a probe kernel booted"
    return "tcg", ("/dev/kvm is there but a probe kernel did not boot on it: servers run on emulated "
                   "processors (TCG), about ten times slower")


def _known(kept: Path, boot: str) -> bool | None:
    try:
        record = json.loads(kept.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return bool(record["works"]) if record.get("boot") == boot else None


def probe(kernel: Path, accelerator_name: str, deadline_s: float = DEADLINE_S) -> bool:
    """Boot `kernel` with an init that prints a marker; True when the marker was seen before the deadline."""
    with tempfile.TemporaryDirectory() as folder:
        initrd = _initrd(Path(folder))
        command = ["qemu-system-x86_64", "-accel", accelerator_name, "-m", "256", "-nodefaults",
                   "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
                   "-cpu", "host" if accelerator_name == "kvm" else "max,cx16=off",
                   "-kernel", str(kernel), "-initrd", str(initrd),
                   "-append", "console=ttyS0 quiet panic=-1"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=deadline_s, check=False)
        except subprocess.TimeoutExpired as late:
            return MARKER.encode() in (late.stdout or b"")
    return MARKER.encode() in done.stdout


def _initrd(folder: Path) -> Path:
    """A cpio with a static busybox and an init of three lines."""
    tree = folder / "tree"
    tree.mkdir()
    shutil.copy2("/bin/busybox", tree / "busybox")
    init = tree / "init"
    init.write_text(f"#!/busybox sh\n/busybox echo {MARKER}\n/busybox poweroff -f\n", encoding="ascii")
    init.chmod(0o755)
    archive = folder / "initrd"
    run(["sh", "-c", 'cd "$1" && find . | cpio --quiet -o -H newc > "$2"', "sh", str(tree), str(archive)])
    return archive

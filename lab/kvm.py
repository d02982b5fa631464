"""Whether KVM works here, found out by booting a kernel: some machines offer a /dev/kvm that cannot.

An ioctl-only probe passes on such machines, so only a Linux that reaches its init counts.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

MARKER = "KVM-PROBE-OK"
DEADLINE_S = 8
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def accelerator(parts: tuple[Path, Path] | None, cache: Path) -> tuple[str, str]:
    """("kvm" or "tcg", a sentence why). The answer is kept until the machine boots again.

    `parts` are a kernel and a RAM disk whose init prints MARKER and powers off.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg", "no usable /dev/kvm: servers run on emulated processors (TCG), about ten times slower"
    boot = BOOT_ID.read_text(encoding="ascii").strip()
    kept = cache / "kvm-probe.json"
    known = _known(kept, boot)
    if known is None:
        if parts is None:
            return "tcg", "KVM was not probed for want of a kernel: servers run on emulated processors (TCG)"
        known = probe(*parts, "kvm")
        cache.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({"boot": boot, "works": known}), encoding="ascii")
    if known:
        return "kvm", "KVM works: a probe kernel booted"
    return "tcg", (
        "/dev/kvm is there but a probe kernel did not boot on it: servers run on emulated "
        "processors (TCG), about ten times slower"
    )


def _known(kept: Path, boot: str) -> bool | None:
    try:
        record = json.loads(kept.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return bool(record["works"]) if record.get("boot") == boot else None


def probe(kernel: Path, initrd: Path, accelerator_name: str, deadline_s: float = DEADLINE_S) -> bool:
    """Boot a kernel with an init that prints MARKER; True when the marker was seen before the deadline."""
    options = ["-m", "256", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    model = "host" if accelerator_name == "kvm" else "max,cx16=off"
    boot = ["-kernel", str(kernel), "-initrd", str(initrd), "-append", "console=ttyS0 quiet panic=-1"]
    boot += ["-serial", "stdio"]
    command = ["qemu-system-x86_64", "-accel", accelerator_name, "-cpu", model, *options, *boot]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=deadline_s, check=False
        )
    except subprocess.TimeoutExpired as late:
        return MARKER.encode() in (late.stdout or b"")
    return MARKER.encode() in done.stdout

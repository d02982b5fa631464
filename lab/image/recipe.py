"""What a node of the rack is made of: packages, what is left out, what is switched off."""

from __future__ import annotations

import hashlib
from pathlib import Path

SUITE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SOURCES = (
    f"deb [signed-by={KEYRING}] http://deb.debian.org/debian {SUITE} main",
    f"deb [signed-by={KEYRING}] http://deb.debian.org/debian {SUITE}-updates main",
    f"deb [signed-by={KEYRING}] http://deb.debian.org/debian-security {SUITE}-security main",
)
# The cloud kernel has all that virtual hardware needs in a quarter of the size.
KERNEL = "linux-image-cloud-amd64"
PACKAGES = (
    KERNEL,
    "systemd-sysv",
    "systemd-boot-efi",
    "udev",
    "dbus",
    "busybox-static",
    "squashfs-tools",
    "zstd",
    "openssh-server",
    "ifupdown2",
    "bridge-utils",
    "iproute2",
    "ethtool",
    "iputils-ping",
    "iputils-arping",
    "lldpd",
    "tcpdump",
    "iperf3",
    "chrony",
    "ca-certificates",
    "curl",
    "gnupg",
    "jq",
    "lsb-release",
    "tzdata",
    "btrfs-progs",
    "dosfstools",
    "efibootmgr",
    "gdisk",
    "parted",
    "nvme-cli",
    "pciutils",
    "dmidecode",
    "procps",
    "psmisc",
    "kmod",
    "rsync",
    "sudo",
    "python3",
    "python3-apt",
    "python3-boto3",
)
# botocore describes every AWS service in 109 MB of JSON; a node talks to these.
AWS_SERVICES = ("iam", "kms", "logs", "s3", "secretsmanager", "ssm", "sts")
EXCLUDED = (
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
    "/usr/lib/python3/dist-packages/botocore/data/*/*",
)
INCLUDED = tuple(f"/usr/lib/python3/dist-packages/botocore/data/{name}/*" for name in AWS_SERVICES)
# Nothing of this serves a rack without internet, TPM or fibre channel, and each costs start-up time.
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "nvmefc-boot-connections.service",
    "nvmf-autoconnect.service",
    "systemd-pcrmachine.service",
    "systemd-pcrphase.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-tpm2-setup.service",
    "systemd-tpm2-setup-early.service",
    "systemd-hibernate-clear.service",
    "systemd-networkd-wait-online.service",
    "systemd-pstore.service",
    "systemd-firstboot.service",
    "systemd-binfmt.service",
    "proc-sys-fs-binfmt_misc.automount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "modprobe@drm.service",
    "getty@tty1.service",
    "ldconfig.service",
    "uuidd.socket",
)
MASKED_GENERATORS = ("systemd-ssh-generator", "systemd-tpm2-generator", "systemd-hibernate-resume-generator")
LIVE_MODULES = (
    "ahci",
    "sr_mod",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "isofs",
    "loop",
    "squashfs",
    "overlay",
)
NODE_MODULES = ("btrfs",)
KERNEL_ARGUMENTS = "console=ttyS0,115200 proxmox-start-auto-installer"

HERE = Path(__file__).resolve().parent
INITRD = HERE / "initrd"
PROXMOX = HERE.parent / "standins" / "proxmox"
NODE_FILES = PROXMOX / "node"
INSTALLER = PROXMOX / "installer"
RELEASES = PROXMOX / "releases.toml"


def files_of(folder: Path) -> list[Path]:
    """Every file below a folder that belongs to the source, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def digest(paths: list[Path], *words: str) -> str:
    """Key of a cached product: what is in these files, their names and modes, and some words."""
    summary = hashlib.sha256(repr(words).encode())
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        executable = bool(path.stat().st_mode & 0o100)
        summary.update(f"{path.relative_to(HERE.parent)} {executable} {content}\n".encode())
    return summary.hexdigest()[:16]


def image_digest(release: str) -> str:
    """Key of the node image: recipe, customising code, node files, initrds."""
    code = [HERE / name for name in ("recipe.py", "rootfs.py", "initramfs.py")]
    return digest([*code, RELEASES, *files_of(NODE_FILES), *files_of(INITRD)], release)


def medium_digest(release: str) -> str:
    """Key of the medium: the image, the installer and how the medium is put together."""
    return digest([HERE / "medium.py", *files_of(INSTALLER)], image_digest(release))

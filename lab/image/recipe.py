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
# What Proxmox VE's own medium has on it for a cluster: membership, the cluster file system, volumes.
CLUSTER_PACKAGES = (
    "corosync",
    "openssl",
    "python3-fusepy",
    "fuse3",
    "lvm2",
    "cryptsetup-bin",
    "e2fsprogs",
    "fio",
)
# What `pveceph install` brings on a real node; here it is on the medium, see lab/standins/README.md.
CEPH_PACKAGES = (
    "ceph-common",
    "ceph-mon",
    "ceph-mgr",
    "ceph-osd",
    "ceph-mds",
    "ceph-volume",
    "python3-rados",
    "python3-rbd",
    "python3-cephfs",
)
# Guests, and what stands below HA: Pacemaker, and SBD that feeds the watchdog.
GUEST_PACKAGES = (
    "lxc",
    "qemu-system-x86",
    "qemu-block-extra",
    "pacemaker",
    "pacemaker-cli-utils",
    "sbd",
)
# Not Proxmox VE's: what a role of the harness installs on real nodes, which have a package repository to ask.
ROLE_PACKAGES = ("fence-agents-redfish",)
ALL_PACKAGES = (*PACKAGES, *CLUSTER_PACKAGES, *CEPH_PACKAGES, *GUEST_PACKAGES, *ROLE_PACKAGES)
# botocore describes every AWS service in 109 MB of JSON; a node talks to these.
AWS_SERVICES = ("iam", "kms", "logs", "s3", "secretsmanager", "ssm", "sts")
EXCLUDED = (
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
    "/usr/lib/python3/dist-packages/botocore/data/*/*",
    # Object gateway and offline surgery: 100 MB that each installation would unpack.
    "/usr/bin/radosgw-admin",
    "/usr/lib/*/librgw.so*",
    "/usr/bin/ceph-kvstore-tool",
    "/usr/bin/ceph-monstore-tool",
    "/usr/bin/ceph-osdomap-tool",
    "/usr/bin/ceph-syn",
    "/usr/bin/cephfs-*",
    # Machines that no guest of the rack is.
    "/usr/bin/qemu-system-i386",
    "/usr/bin/qemu-system-x86_64-microvm",
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
    "smartmontools.service",
    "rbdmap.service",
    "e2scrub_reap.service",
    "e2scrub_all.timer",
    "xfs_scrub_all.timer",
    "lvm2-monitor.service",
    "lvm2-lvmpolld.socket",
    "dm-event.socket",
    "blk-availability.service",
)
# Start only where something was created: PVE enables the crash collector with the first monitor; HA's daemons
# start when the cluster has an HA resource. Guests are started by the stand-in, on bridges of Proxmox VE's.
DISABLED = (
    "ceph-crash.service",
    "pacemaker.service",
    "sbd.service",
    "sbd_remote.service",
    "logd.service",
    "lxc.service",
    "lxc-net.service",
    "lxc-monitord.service",
)
# Modules of the manager that Proxmox VE has no use for; each is loaded whenever a manager starts.
MGR_MODULES_ASIDE = (
    "alerts",
    "influx",
    "insights",
    "localpool",
    "mirroring",
    "nfs",
    "osd_perf_query",
    "osd_support",
    "prometheus",
    "restful",
    "selftest",
    "snap_schedule",
    "stats",
    "telegraf",
    "test_orchestrator",
    "zabbix",
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
DAEMON = PROXMOX / "daemon"


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
    code = [HERE / name for name in ("recipe.py", "rootfs.py", "cluster.py", "initramfs.py")]
    return digest([*code, RELEASES, *files_of(NODE_FILES), *files_of(DAEMON), *files_of(INITRD)], release)


def medium_digest(release: str) -> str:
    """Key of the medium: the image, the installer and how the medium is put together."""
    return digest([HERE / "medium.py", *files_of(INSTALLER)], image_digest(release))

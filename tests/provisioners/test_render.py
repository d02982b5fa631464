"""What goes onto a medium: the answer file in the installer's own format, and a first-boot script."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import SiteError
from cluster.site import Site
from provisioners.base_install.files import Material, bootstrap_interfaces, managed
from provisioners.base_install.hostkey import generate
from provisioners.base_install.render import MODE, answer, disk_filter, first_boot

# Keys of the automated installer (proxmox-installer-types/src/answer.rs); every table rejects others.
TABLES: dict[str, set[str]] = {
    "": {"global", "network", "disk-setup", "first-boot", "post-installation-webhook"},
    "global": {
        *{"keyboard", "country", "fqdn", "mailto", "timezone", "root-password", "root-password-hashed"},
        *{"root-ssh-keys", "reboot-on-error", "reboot-mode", "subscription-key"},
    },
    "network": {"source", "cidr", "dns", "gateway", "filter", "interface-name-pinning"},
    "network.interface-name-pinning": {"enabled", "mapping"},
    "disk-setup": {"filesystem", "disk-list", "filter", "filter-match", "zfs", "btrfs", "lvm"},
    "disk-setup.zfs": {"raid", "ashift", "arc-max", "checksum", "compress", "copies", "hdsize"},
    "disk-setup.btrfs": {"raid", "compress", "hdsize"},
    "first-boot": {"source", "ordering", "url", "cert-fingerprint"},
}


def tables(value: dict[str, Any], path: str = "") -> dict[str, set[str]]:
    found = {path: set(value)}
    for key, inner in value.items():
        if isinstance(inner, dict) and key not in {"filter", "mapping"}:
            found |= tables(inner, f"{path}.{key}".lstrip("."))
    return found


@pytest.fixture(params=["node1", "node2", "node3"])
def rendered(request: pytest.FixtureRequest, site: Site, material: Material) -> tuple[str, dict[str, Any]]:
    name = str(request.param)
    return name, tomllib.loads(answer(site, site.node(name), material, "$6$salt$hash"))


def test_only_keys_that_the_installer_knows(rendered: tuple[str, dict[str, Any]]) -> None:
    for path, keys in tables(rendered[1]).items():
        assert keys <= TABLES[path], f"[{path}] has {keys - TABLES[path]}"


def test_the_answer_orders_what_the_site_orders(rendered: tuple[str, dict[str, Any]], site: Site) -> None:
    name, found = rendered
    node = site.node(name)
    assert found["global"]["fqdn"] == f"{name}.rack.example"
    assert found["global"]["reboot-mode"] == "power-off"
    assert (
        "root-password" not in found["global"] and found["global"]["root-password-hashed"] == "$6$salt$hash"
    )
    assert len(found["global"]["root-ssh-keys"]) == 2
    assert found["network"]["source"] == "from-answer" and found["network"]["cidr"] == f"{node.address}/24"
    assert found["network"]["filter"]["ID_NET_NAME_MAC"] == "*" + node.links[0].mac.replace(":", "")
    names = found["network"]["interface-name-pinning"]["mapping"]
    assert names == {node.links[0].mac: "nic0", node.links[1].mac: "nic1", node.ring.mac: "ring0"}  # type: ignore[union-attr]
    assert found["disk-setup"]["filesystem"] == "btrfs" and found["disk-setup"]["btrfs"]["raid"] == "raid1"
    assert found["first-boot"] == {"source": "from-iso", "ordering": "before-network"}


def matching(filters: dict[str, str], serials: list[str]) -> set[str]:
    """Drives that the installer would take: any property matches its glob."""
    found = set()
    for serial in serials:
        udev = {"ID_SERIAL_SHORT": serial, "ID_SERIAL": f"QEMU_NVMe_Ctrl_{serial}_1"}
        if any(fnmatch.fnmatchcase(udev[key], glob) for key, glob in filters.items()):
            found.add(serial)
    return found


def test_the_disk_filter_matches_the_two_boot_drives_and_never_a_data_drive(
    rendered: tuple[str, dict[str, Any]], site: Site
) -> None:
    name, found = rendered
    every = [s for n in site.nodes for s in (*n.boot_drives, *n.data_drives)]
    assert found["disk-setup"]["filter-match"] == "any"
    assert matching(found["disk-setup"]["filter"], every) == set(site.node(name).boot_drives)


def test_a_serial_that_cannot_be_told_apart_is_refused(site: Site) -> None:
    node = site.node("node1").model_copy(update={"data_drives": ("BOOT12X",)})
    with pytest.raises(SiteError, match="BOOT12X cannot be told from boot drive BOOT12"):
        disk_filter(node)
    with pytest.raises(SiteError, match="cannot be put into a filter"):
        disk_filter(site.node("node1").model_copy(update={"boot_drives": ("A*", "B1")}))


def test_the_mode_file_is_the_assistants() -> None:
    assert tomllib.loads(MODE) == {"mode": "iso", "partition_label": "proxmox-ais", "http": {}}


def run_first_boot(script: str, root: Path) -> None:
    """Runs the script as the installer's hook would, but on a folder in place of a machine."""
    done = subprocess.run(
        ["sh", "-s"], input=script, env={"ROOT": str(root), "PATH": os.environ["PATH"]},
        text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_first_boot_script_writes_every_file_and_keeps_the_originals(
    site: Site, material: Material, tmp_path: Path
) -> None:
    node = site.node("node1")
    key = generate()
    (tmp_path / "etc/network").mkdir(parents=True)
    (tmp_path / "etc/network/interfaces").write_text("original\n")
    script = first_boot(site, node, material, key)
    for _ in range(2):  # a node that lost power in the middle runs it again
        run_first_boot(script, tmp_path)
    for file in managed(site, node, material):
        written = tmp_path / file.path.lstrip("/")
        assert written.read_text() == file.content
        assert f"{written.stat().st_mode & 0o7777:o}" == f"{file.mode:o}"
    assert (tmp_path / "etc/network/interfaces").read_text() == bootstrap_interfaces(site, node)
    saved = tmp_path / "var/lib/rackproof/saved/phase1"
    assert (saved / "etc/network/interfaces").read_text() == "original\n"
    absent = (saved / ".absent").read_text().split()
    assert len(absent) == len(set(absent)) and not (saved / "etc/hostname").exists()
    assert "/etc/hostname" in absent and "/etc/network/interfaces" not in absent
    private = tmp_path / "etc/ssh/ssh_host_ed25519_key"
    assert f"{private.stat().st_mode & 0o777:o}" == "600" and private.read_text() == key.private
    assert (tmp_path / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2] == key.public.split()
    assert f"{(tmp_path / 'root/.ssh').stat().st_mode & 0o777:o}" == "700"


def test_the_host_address_is_tagged_from_the_first_minute(site: Site) -> None:
    text = bootstrap_interfaces(site, site.node("node2"))
    assert "auto nic0.6\niface nic0.6 inet static\n\taddress 10.6.0.12/24\n\tgateway 10.6.0.1" in text
    assert "bond" not in text and "vmbr" not in text and "#" not in text


def test_the_repository_that_is_not_ordered_is_disabled_not_deleted(site: Site, material: Material) -> None:
    install = site.install.model_copy(update={"repository": "enterprise"})
    for order, wanted in (
        (site, "proxmox"),
        (site.model_copy(update={"install": install}), "pve-enterprise"),
    ):
        for file in managed(order, order.nodes[0], material):
            if "/ceph" in file.path:
                assert f"Components: {order.install.repository}" in file.content
            elif file.path.endswith(".sources"):
                assert ("Enabled: no" not in file.content) == (f"/{wanted}.sources" in file.path)

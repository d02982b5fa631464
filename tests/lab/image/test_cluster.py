"""What the image adds for a cluster: the daemon, the manager's modules, units."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabError
from lab.image import cluster, recipe

MODULE = 'class MgrModule(Base):\n    MGR_POOL_NAME = ".mgr"\n'


ADDON = f"""\
import re
def condoned(ifaceobj):
    {cluster.CONDONED}
    return bridge_port_condone_regex
"""


def rootfs(folder: Path, bcrypt: str = "import bcrypt\n", module: str = MODULE) -> Path:
    """As much of a root file system as `cluster.install` looks at."""
    for name in (*recipe.MGR_MODULES_ASIDE, "telemetry", "balancer"):
        (folder / cluster.MODULES / name).mkdir(parents=True)
    (folder / cluster.MODULES / "mgr_util.py").write_text(f"import os\n{bcrypt}", encoding="utf-8")
    (folder / cluster.MODULES / "mgr_module.py").write_text(module, encoding="utf-8")
    files = {"etc/lvm/lvm.conf": "config {}\n", "etc/corosync/corosync.conf": "totem {}\n"}
    for path, text in {**files, cluster.BRIDGE: ADDON}.items():
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(text, encoding="utf-8")
    for place in ("ceph.target.wants/ceph-crash.service", "corosync.service.requires/sbd.service"):
        link = folder / "etc/systemd/system" / place
        link.parent.mkdir(parents=True)
        link.symlink_to("/nowhere/on/this/machine")
    return folder


def test_a_node_has_the_daemon_and_a_manager_that_loads_its_modules(tmp_path: Path) -> None:
    tree = rootfs(tmp_path)
    cluster.install(tree)
    package = tree / cluster.PACKAGE
    assert (package / "http/registry.py").is_file()
    assert (package / "cli/pveceph.py").read_bytes() == (recipe.DAEMON / "cli/pveceph.py").read_bytes()
    assert not list(package.rglob("__pycache__"))
    assert (tree / cluster.MODULES / "mgr_util.py").read_text(
        encoding="utf-8"
    ) == "import os\nbcrypt = None\n"
    assert {path.name for path in (tree / cluster.MODULES).iterdir()} == {
        "telemetry",
        "balancer",
        "mgr_util.py",
        "mgr_module.py",
    }
    loaded: dict[str, Any] = {"Base": object}
    exec((tree / cluster.MODULES / "mgr_module.py").read_text(encoding="utf-8"), loaded)
    assert loaded["MgrModule"].NOTIFY_TYPES == []
    assert (tree / cluster.ASIDE / "prometheus").is_dir()
    assert not (tree / "etc/corosync/corosync.conf").exists()
    assert "/dev/rbd" in (tree / "etc/lvm/lvm.conf").read_text(encoding="utf-8")
    for folder in ("ceph.target.wants", "corosync.service.requires"):
        assert not list((tree / "etc/systemd/system" / folder).iterdir())


@pytest.mark.parametrize("text", ["", "import bcrypt\nimport bcrypt\n"])
def test_a_manager_that_is_not_as_expected_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(LabError, match=r"expected one line 'import bcrypt', found [02]"):
        cluster.install(rootfs(tmp_path, text))


def test_a_module_of_the_manager_that_is_not_as_expected_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"mgr_module.py: expected one line .*MGR_POOL_NAME.*, found 0"):
        cluster.install(rootfs(tmp_path, module="class MgrModule:\n    pass\n"))


@pytest.mark.parametrize(("port", "stays"), [("veth9001i0", True), ("tap9002i0", True), ("nic2", False)])
def test_guests_stay_on_their_bridge_when_the_network_is_loaded_anew(
    tmp_path: Path, port: str, stays: bool
) -> None:
    tree = rootfs(tmp_path)
    cluster.install(tree)
    loaded: dict[str, Any] = {}
    exec((tree / cluster.BRIDGE).read_text(encoding="utf-8"), loaded)

    class Bridge:
        ordered: str | None = None

        def get_attr_value_first(self, name: str) -> str | None:
            assert name == "bridge-ports-condone-regex"
            return self.ordered

    bridge = Bridge()
    assert bool(re.match(loaded["condoned"](bridge), port)) is stays
    bridge.ordered = "nic"
    assert loaded["condoned"](bridge) == "nic", "what a site orders comes first"


def test_units_of_proxmox_are_wanted_as_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units = tmp_path / "node/usr/lib/systemd/system"
    (units / "pveproxy.service.d").mkdir(parents=True)
    install = "[Install]\nWantedBy=multi-user.target\nAlias=pvedaemon.service\n"
    (units / "pveproxy.service").write_text(install, encoding="utf-8")
    (units / "other.service").write_text(install, encoding="utf-8")
    (units / "pveproxy.service.d/x.conf").write_text(install, encoding="utf-8")
    monkeypatch.setattr(recipe, "NODE_FILES", tmp_path / "node")
    tree = rootfs(tmp_path / "root")
    cluster.install(tree)
    system = tree / "etc/systemd/system"
    assert [path.name for path in (system / "multi-user.target.wants").iterdir()] == ["pveproxy.service"]
    assert str((system / "pvedaemon.service").readlink()) == "/usr/lib/systemd/system/pveproxy.service"
    assert not (system / "other.service").exists()


def test_the_image_changes_with_the_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recipe, "HERE", tmp_path / "image")
    (tmp_path / "image").mkdir()
    for name in ("recipe.py", "rootfs.py", "cluster.py", "initramfs.py", "releases.toml"):
        (tmp_path / "image" / name).touch()
    for name in ("node", "initrd", "daemon"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(recipe, "RELEASES", tmp_path / "image/releases.toml")
    monkeypatch.setattr(recipe, "NODE_FILES", tmp_path / "node")
    monkeypatch.setattr(recipe, "INITRD", tmp_path / "initrd")
    monkeypatch.setattr(recipe, "DAEMON", tmp_path / "daemon")
    before = recipe.image_digest("9.0")
    (tmp_path / "daemon/a.py").write_text("x", encoding="utf-8")
    assert recipe.image_digest("9.0") != before


def test_economy_is_given_to_each_daemon() -> None:
    for kind in ("mon", "mgr", "osd", "mds"):
        unit = recipe.NODE_FILES / f"usr/lib/systemd/system/ceph-{kind}@.service.d/10-rack.conf"
        (line,) = [one for one in unit.read_text().splitlines() if one.startswith("EnvironmentFile=")]
        options = (recipe.NODE_FILES / line.removeprefix("EnvironmentFile=/")).read_text(encoding="utf-8")
        assert 'CEPH_ARGS="--' in options
    assert "--osd_memory_target" not in (recipe.NODE_FILES / "usr/share/rack/ceph-osd.env").read_text()

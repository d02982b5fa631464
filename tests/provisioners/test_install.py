"""Installing over the management controllers: the order of steps, and taking up what a killed run left."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import DeadlineError, RackproofError, UnreachableError
from cluster.site import Site
from provisioners.base_install import install as module
from provisioners.base_install import medium
from provisioners.base_install.hostkey import generate
from provisioners.base_install.install import Install, Start, contents
from provisioners.change import Change
from provisioners.markers import read_markers, write_marker
from tests.provisioners.fakes import FakeCluster
from tests.provisioners.nodes import MATERIAL

WHOLE = ["insert", "boot Cd", "On", "eject", "On"]


class FakeMediaServer:
    def __init__(self, folder: Path, address: object) -> None:
        self.folder = folder

    def __enter__(self) -> FakeMediaServer:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def publish(self, name: str) -> str:
        assert (self.folder / name).is_file()
        return f"http://media/{name}"


@pytest.fixture
def cluster(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    monkeypatch.setattr(module, "MediaServer", FakeMediaServer)
    monkeypatch.setattr(module, "material", lambda cluster: MATERIAL)
    monkeypatch.setattr(medium, "check", lambda site: Path("image.iso"))
    monkeypatch.setattr(medium, "prepare", lambda image, contents, output: output.write_text(contents.answer))
    monkeypatch.setattr(module, "SSH_S", 0.5)
    monkeypatch.setattr(module, "INSTALL_S", 0.2)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    yield FakeCluster(site)


def changes(*names: str) -> list[Change]:
    return [Change(name, "install", "install") for name in names]


def apply(cluster: Any, action: Any, *names: str) -> list[str]:
    said: list[str] = []
    action.apply(cluster, changes(*names), said.append)
    return said


def test_bare_servers_become_nodes(cluster: FakeCluster) -> None:
    said = apply(cluster, Install(), "node1", "node2", "node3")
    for name, server in cluster.servers.items():
        assert server.log == WHOLE
        assert (server.power, server.medium, server.system) == ("On", None, True)
        assert cluster.marker(name) == "installed"
        assert cluster.aws.values_by_name[cluster.host_key_parameter(name)].startswith("ssh-ed25519 AAAA")
        assert cluster.nodes[name].forgotten == 1
    assert any("node1: installing, powers itself off when done" in line for line in said)


def test_the_key_is_published_before_the_server_starts(cluster: FakeCluster) -> None:
    apply(cluster, Install(), "node1")
    names = [name.rsplit("/", 1)[1] + "=" + value[:10] for name, value in cluster.aws.writes]
    assert names == [
        "install_state=installing",
        "ssh_host_key=ssh-ed2551",
        "install_state=written",
        "install_state=installed",
    ]


def test_no_secret_of_the_medium_is_told(cluster: FakeCluster) -> None:
    said = apply(cluster, Install(), "node1")
    assert not any("PRIVATE" in line or "root_password" in line for line in said)
    assert "PRIVATE" not in repr(cluster.aws.writes)
    assert "OPENSSH PRIVATE KEY" not in contents(cluster, "node1", generate()).answer  # type: ignore[arg-type]


def test_a_hanging_installer_is_told_with_its_deadline(cluster: FakeCluster) -> None:
    cluster.servers["node1"].hangs = True
    with pytest.raises(DeadlineError, match="node1: the installer did not power the server off within 0 s"):
        apply(cluster, Install(), "node1")
    assert cluster.marker("node1") == "installing"


def test_one_failure_does_not_stop_the_others(cluster: FakeCluster) -> None:
    cluster.servers["node2"].hangs = True
    with pytest.raises(DeadlineError, match="node2"):
        apply(cluster, Install(), "node1", "node2", "node3")
    assert [cluster.marker(n) for n in cluster.servers] == ["installed", "installing", "installed"]


def test_killed_while_installing_and_it_still_runs(cluster: FakeCluster) -> None:
    server = cluster.servers["node1"]
    server.power, server.medium, server.installing = "On", "http://old", True
    write_marker(cluster, "node1", "installing")  # type: ignore[arg-type]
    apply(cluster, Install(), "node1")
    assert server.log == ["eject", "On"] and cluster.marker("node1") == "installed"


def test_killed_while_installing_and_it_hangs(cluster: FakeCluster) -> None:
    server = cluster.servers["node1"]
    server.power, server.medium, server.installing, server.hangs = "On", "http://old", True, True
    write_marker(cluster, "node1", "installing")  # type: ignore[arg-type]
    bmc = cluster.bmcs["node1"]
    power = bmc.power

    def mended(reset: str) -> None:
        power(reset)
        server.hangs = False

    bmc.power = mended  # type: ignore[method-assign]
    apply(cluster, Install(), "node1")
    assert server.log == ["ForceOff", *WHOLE] and cluster.marker("node1") == "installed"


def test_killed_between_power_off_and_power_on(cluster: FakeCluster) -> None:
    server = cluster.servers["node1"]
    server.power, server.medium, server.system = "Off", "http://old", True
    write_marker(cluster, "node1", "written")  # type: ignore[arg-type]
    apply(cluster, Start(), "node1")
    assert server.log == ["eject", "On"] and cluster.marker("node1") == "installed"


def test_half_installed_and_off_is_installed_again(cluster: FakeCluster) -> None:
    server = cluster.servers["node1"]
    server.medium = "http://old"
    write_marker(cluster, "node1", "installing")  # type: ignore[arg-type]
    apply(cluster, Install(), "node1")
    assert server.log == WHOLE


def test_a_silent_node_is_named_with_the_consent_that_would_install_it(cluster: FakeCluster) -> None:
    cluster.servers["node1"].power = "On"
    write_marker(cluster, "node1", "installed")  # type: ignore[arg-type]
    with pytest.raises(UnreachableError, match="not installed again without --wipe BOOT11 --wipe BOOT12"):
        apply(cluster, Start(), "node1")
    assert cluster.servers["node1"].log == []


def test_rollback_switches_off_and_forgets(cluster: FakeCluster) -> None:
    apply(cluster, Install(), "node1")
    Install().undo(cluster, changes("node1"), lambda text: None)  # type: ignore[arg-type]
    assert cluster.servers["node1"].power == "Off" and read_markers(cluster)["node1"] == ""  # type: ignore[arg-type]


def test_a_marker_that_nobody_knows_protects_the_node(cluster: FakeCluster) -> None:
    cluster.aws.put_parameter("/pve1/nodes/node1/install_state", "something else")
    assert read_markers(cluster)["node1"] == "installed"  # type: ignore[arg-type]


# -- the medium itself ----


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small ISO 9660 image."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/auto-installer-capable").touch()
    path = tmp_path / "small.iso"
    subprocess.run(
        ["xorriso", "-as", "mkisofs", "-quiet", "-o", str(path), str(tmp_path / "tree")],
        check=True,
        timeout=60,
        capture_output=True,
    )
    return path


def read_back(path: Path, name: str, into: Path) -> str:
    command = ["xorriso", "-osirrox", "on", "-indev", str(path), "-extract", f"/{name}", str(into / name)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    return (into / name).read_text()


def test_a_medium_holds_the_three_files_and_is_for_its_owner_only(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "node1.iso"
    medium.prepare(image, medium.Contents("answer", "mode", "#!/bin/sh\n"), output)
    assert f"{output.stat().st_mode & 0o777:o}" == "600"
    for name, text in (
        ("answer.toml", "answer"),
        ("auto-installer-mode.toml", "mode"),
        ("proxmox-first-boot", "#!/bin/sh\n"),
    ):
        assert read_back(output, name, tmp_path) == text
    assert medium._volume_date(output) == medium._volume_date(image)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    fake = tmp_path / "fake.iso"
    fake.write_bytes(b"x" * 40000)
    with pytest.raises(medium.MediumError, match="no ISO 9660 image"):
        medium.prepare(fake, medium.Contents("", "", ""), tmp_path / "out.iso")


def order(site: Site, image: Path, sums: Path) -> Site:
    table = site.medium.model_copy(update={"image": image, "sha256": sums})
    return site.model_copy(update={"medium": table})


def test_the_checksum_is_checked_before_anything_else(site: Site, image: Path, tmp_path: Path) -> None:
    sums = tmp_path / "small.iso.sha256"
    with pytest.raises(medium.MediumError, match="no checksum"):
        medium.check(order(site, image, sums))
    sums.write_text(f"{medium.look(order(site, image, sums)).seen}  small.iso\n")
    assert medium.check(order(site, image, sums)) == image
    sums.write_text("0" * 64 + "  small.iso\n")
    with pytest.raises(medium.MediumError, match="published is 000"):
        medium.check(order(site, image, sums))
    with pytest.raises(medium.MediumError, match="no such file"):
        medium.check(order(site, tmp_path / "gone.iso", sums))


def test_writing_to_a_file_in_place_of_a_stick(image: Path, tmp_path: Path) -> None:
    target = tmp_path / "stick.img"
    medium.write_out(image, target, lambda text: None)
    assert target.read_bytes() == image.read_bytes()


def test_errors_of_several_nodes_are_all_told() -> None:
    from provisioners.each import raise_all

    with pytest.raises(UnreachableError, match="node1 is silent; node2: no route"):
        raise_all(
            {"node1": UnreachableError("node1 is silent"), "node2": RackproofError("no route"), "node3": 1}
        )
    assert raise_all({"node1": 1}) == {"node1": 1}

"""The site file: what is sound is read, and each of many mistakes gets one sentence."""

from __future__ import annotations

import copy
import datetime
import tomllib
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cluster import site_reference
from cluster.contradictions import contradictions
from cluster.errors import SiteError
from cluster.site import ROOT, Site, load, validated
from cluster.site_errors import tables
from cluster.targets import TARGETS

LAB = ROOT / "sites" / "lab.toml"
PVE1 = ROOT / "sites" / "pve1.toml"
CASES: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "bad_sites" / "cases.toml").read_text(encoding="utf-8")
)["case"]


def bad(folder: Path, text: str | bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `load` says of a file with this text, called from the folder it lies in."""
    monkeypatch.chdir(folder)
    file = Path("sites") / "bad.toml"
    file.parent.mkdir()
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SiteError) as raised:
        load(file)
    assert raised.value.__cause__ is None
    return str(raised.value)


def test_the_lab_is_read() -> None:
    site = load(LAB)
    assert (site.name, site.kind, site.protected) == ("lab", "rehearsal", False)
    assert [site.fqdn(node) for node in site.nodes] == [f"node{n}.rack.example" for n in (1, 2, 3)]
    assert site.node("node2").address == IPv4Address("10.6.0.12")
    assert site.host_network.id == 6
    assert list(site.guest_networks) == ["vlan1", "vlan2", "vlan3", "vlan4", "vlan5"]
    assert site.ring_network is not None and site.oob_network is not None
    assert site.bond.miimon == 0.1
    assert site.nodes[0].links[0].speed == 200e9
    assert site.hardware.data_drives.size == 12 * 2**30
    assert site.switch("sw2").address == IPv4Address("10.9.0.22")


def test_the_ordered_hardware_is_read() -> None:
    site = load(PVE1)
    assert (site.kind, site.protected, site.rack, site.relax) == ("acceptance", True, None, {})
    assert len(site.nodes) == 3
    assert all((len(node.boot_drives), len(node.data_drives)) == (2, 12) for node in site.nodes)
    assert site.hardware.memory == 2304 * 2**30
    assert [(guest.sid, guest.path) for guest in site.guests] == [
        ("ct:9001", "lxc/9001"),
        ("vm:9002", "qemu/9002"),
    ]
    assert site.guests[0].beat == "http://10.31.0.201:8080/beat"
    assert site.bond.mode == "802.3ad"
    assert site.as_ordered().bond.mode == "active-backup"


def test_a_site_cannot_be_changed() -> None:
    site = load(LAB)
    with pytest.raises(Exception, match="frozen"):
        site.name = "other"  # type: ignore[misc]


def test_a_name_that_is_not_there_is_one_sentence() -> None:
    site = load(LAB)
    with pytest.raises(SiteError, match=r"there is no node 'node9'; expected one of node1, node2, node3"):
        site.node("node9")
    with pytest.raises(SiteError, match=r"there is no switch 'sw9'; expected one of sw1, sw2"):
        site.switch("sw9")


def test_references_are_listed_with_each_nodes_name() -> None:
    references = list(load(LAB).ssm_references())
    assert ("install.root_password_hash", "/pve1/nodes/node3/root_password_hash") in references
    assert ("node.node1.bmc.password", "/pve1/nodes/node1/ipmi_password") in references
    assert ("switch.sw1.host_key", "/pve1/switches/sw1/host_key") in references
    assert not any("{" in name for _, name in references)


def test_paths_start_at_the_root_of_the_repository() -> None:
    site = load(LAB)
    assert site.resolve(site.medium.image) == ROOT / ".rack" / "media" / "rack-installer.iso"
    assert site.resolve(Path("/srv/image.iso")) == Path("/srv/image.iso")


def test_there_are_thirty_bad_files_or_more_and_each_is_another() -> None:
    assert len(CASES) >= 30
    assert len({case["name"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_a_mistake_gets_one_sentence(
    case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = PVE1 if case.get("site") == "pve1" else LAB
    text = file.read_text(encoding="utf-8")
    assert case["old"] in text, f"the edit of this case no longer fits {file.name}"
    said = bad(tmp_path, text.replace(case["old"], case["new"], 1), monkeypatch)
    known = {"{file}": "sites/bad.toml", "{last}": str(len(text.splitlines()) + 1)}
    for mark, value in known.items():
        case = {**case, "says": [line.replace(mark, value) for line in case["says"]]}
    assert said.splitlines() == case["says"]
    assert "Traceback" not in said and "pydantic" not in said


def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = LAB.read_text(encoding="utf-8")
    for key in ("root_password_hash", "private_key", "host_key"):
        text = text.replace(f'{key} = "ssm:', f'{key} = "canary-4711-', 1)
    text += '\nadmin_token = "canary-4711"\nbackup_password = "canary-4711"\n'
    said = bad(tmp_path, text, monkeypatch)
    assert "canary" not in said
    assert len(said.splitlines()) == 5


def test_a_file_that_is_not_there_names_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SiteError) as raised:
        load(Path("sites/lba.toml"))
    assert str(raised.value) == (
        "sites/lba.toml: there is no such file; expected a site file: sites/lab-ha.toml, sites/lab.toml,"
        " sites/pve1.toml"
    )


def test_a_folder_is_no_site_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SiteError, match=r"^sites: is a folder; expected a site file such as sites/lab.toml$"):
        load(Path("sites"))


def test_an_unreadable_file_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    file = tmp_path / "bad.toml"
    file.touch()
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(SiteError, match=r"cannot be read \(Permission denied\); expected a readable file$"):
        load(file)


def test_a_file_in_another_encoding_is_named_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = LAB.read_bytes().replace(b'country = "us"', b'country = "\xfcs"')
    line = text[: text.index(b"\xfc")].count(b"\n") + 1
    said = bad(tmp_path, text, monkeypatch)
    assert said == f"sites/bad.toml: line {line}: byte 0xfc is not UTF-8; expected a TOML file in UTF-8"


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_bytes(b"\xef\xbb\xbf" + LAB.read_bytes())
    assert load(file).name == "lab"


def test_an_empty_file_lists_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = bad(tmp_path, "", monkeypatch).splitlines()
    assert lines[0] == "sites/bad.toml: name: missing; expected name of the site; reports bear it"
    assert all(": missing; expected " in line for line in lines)


def test_single_brackets_are_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = LAB.read_text(encoding="utf-8")
    head, tail = text[: text.index("[[node]]")], text[text.index("[hands]") :]
    said = bad(tmp_path, f'{head}[node]\nname = "node1"\n{tail}', monkeypatch)
    assert said == "sites/bad.toml: node: expected tables in double brackets, [[node]]"


def test_every_target_reads_its_own_default() -> None:
    for target in TARGETS.values():
        assert target.value > 0
        assert target.parse(target.format(target.value)) == target.value
        assert not target.easier(target.value)
        assert target.met(target.value * (0.5 if target.relation == "<" else 2), target.value)
        assert not target.met(target.value, target.value)


def test_every_key_is_described_and_documented() -> None:
    page = (ROOT / "docs" / "site-file.md").read_text(encoding="utf-8")
    for path, model in tables(Site):
        for field in model.model_fields.values():
            assert field.description, f"a field of {model.__name__} has no description"
        assert issubclass(model, BaseModel)
        assert site_reference.table(path, model) in page, (
            f"docs/site-file.md: the section of [{path or 'top'}] is not what the models say; "
            "paste the output of cluster.site_reference.reference()"
        )


def test_every_target_is_documented() -> None:
    page = (ROOT / "docs" / "site-file.md").read_text(encoding="utf-8")
    assert site_reference.targets() in page


def test_loading_does_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(LAB).name == "lab"
    assert list(tmp_path.iterdir()) == []


STRANGE: tuple[Any, ...] = (
    *(0, -1, 1.5, float("nan"), True, "", "x", "ssm:", "\n", "ünï", "1e9GB"),
    *([], ["x"], {}, {"x": {}}, {"name": 1}, datetime.date(2026, 1, 1)),
)


def leaves(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Paths of every value in a file's data, tables and lists among them."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(leaf for key, value in items for leaf in leaves(value, (*path, key)))][0 if path else 1 :]


@pytest.mark.parametrize("file", [LAB, PVE1], ids=["lab", "pve1"])
def test_no_value_anywhere_gets_more_than_a_sentence(file: Path) -> None:
    """Every value replaced by strange ones: a sound site, or sentences; never another exception."""
    original = tomllib.loads(file.read_text(encoding="utf-8"))
    tried = 0
    twins = {("node", 1), ("node", 2), ("switch", 1)}  # one node and one switch will do

    def further_drive(path: tuple[str | int, ...]) -> bool:
        return str(path[2:3]).endswith("drives',)") and isinstance(path[-1], int) and path[-1] > 0

    paths = [path for path in leaves(original) if path[:2] not in twins and not further_drive(path)]
    # The ordered hardware has several hundred values: each gets every fourth strange one, in turn.
    step = 1 if file == LAB else 4
    for place, path in enumerate(paths):
        for strange in STRANGE[place % step :: step]:
            data = copy.deepcopy(original)
            here = data
            for part in path[:-1]:
                here = here[part]  # type: ignore[index]
            here[path[-1]] = strange  # type: ignore[index]
            tried += 1
            try:
                site = validated(data, "sites/x.toml")
                contradictions(site)
            except SiteError as error:
                assert all(line.startswith("sites/x.toml: ") for line in str(error).splitlines()), (
                    path,
                    strange,
                )
    assert tried > 1000

"""A guest's configuration file: PVE's format, there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.standins.proxmox.daemon.guests import conf
from lab.standins.proxmox.daemon.guests.conf import Config

SAMPLE = """#the heart%3A beats
#every 1/4 s %25
arch: amd64
hostname: beat-ct
memory: 64
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:0A:0B:0C,tag=1,type=veth
rootfs: rbd-containers:vm-101-disk-0,size=1G

[pve:pending]
delete: swap
memory: 128

[before]
#a snapshot
memory: 32
snaptime: 1
"""
KEYS = st.from_regex(r"[a-z][a-z0-9_-]{0,12}", fullmatch=True).filter(
    lambda key: key not in ("delete", "description")
)
WORDS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n"), max_size=30).map(
    str.strip
)
VALUES = st.dictionaries(KEYS, WORDS, max_size=8)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60)


def test_a_file_as_pve_writes_it() -> None:
    found = conf.parse(SAMPLE, "lxc")
    assert found.get("description") == "the heart: beats\nevery 1/4 s %\n"
    assert (found["memory"], found.ahead["memory"], found.deleted) == ("64", "128", ("swap",))
    assert conf.render(found, "lxc") == SAMPLE


def test_the_two_kinds_name_their_pending_section_differently() -> None:
    found = Config({"cores": "1"}, {"cores": "2"})
    assert "[PENDING]\ncores: 2\n" in conf.render(found, "qemu")
    assert conf.parse(conf.render(found, "qemu"), "qemu").ahead == {"cores": "2"}
    assert conf.parse(conf.render(found, "qemu"), "lxc").pending == {}


@pytest.mark.parametrize("kind", ["lxc", "qemu"])
@given(VALUES, VALUES, st.sets(KEYS, max_size=4), TEXTS)
def test_what_is_written_is_read(
    kind: str, values: dict[str, str], pending: dict[str, str], deleted: set[str], description: str
) -> None:
    given = Config({**values, "description": description}, pending, tuple(sorted(deleted)))
    text = conf.render(given, kind)
    lines = description.removesuffix("\n")
    told = {"description": f"{lines}\n"} if lines else {}
    assert conf.parse(text, kind) == Config({**values, **told}, pending, tuple(sorted(deleted)))
    assert all(line.startswith("#") or ":" in line or not line or line[0] == "[" for line in text.split("\n"))


@given(VALUES, VALUES, st.sets(KEYS, max_size=4))
def test_a_start_settles_what_waits(
    values: dict[str, str], pending: dict[str, str], deleted: set[str]
) -> None:
    config = Config(dict(values), dict(pending), tuple(deleted))
    ahead = config.ahead
    config.apply_pending()
    assert (config.values, config.pending, config.deleted) == (ahead, {}, ())
    assert all(key in pending for key in deleted & config.values.keys())


def test_lines_that_are_none_are_left_out() -> None:
    assert conf.parse("memory 64\n: x\nMEMORY: 1\ncores: 2", "lxc").values == {"cores": "2"}


def test_another_text_has_another_digest() -> None:
    assert conf.digest("memory: 64\n") != conf.digest("memory: 65\n")
    assert len(conf.digest("")) == 40

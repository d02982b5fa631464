"""A node's files while /etc/pve ends and begins again."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from lab.standins.proxmox.daemon.http import tickets
from lab.standins.proxmox.daemon.http.machine import Machine


def test_a_ticket_outlives_a_file_system_that_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine("node1", tmp_path)
    key = tmp_path / "etc/pve/priv/authkey.key"
    key.parent.mkdir(parents=True)
    key.write_text("secret", encoding="ascii")
    ticket = tickets.issue(machine, "root@pam")
    for number in (errno.ENOTCONN, errno.ECONNABORTED):

        def away(self: Path, *_: Any, number: int = number, **__: Any) -> str:
            raise OSError(number, "away")

        monkeypatch.setattr(Path, "read_text", away)
        assert tickets.owner(machine, ticket) == "root@pam"
        with pytest.raises(OSError, match="away"):
            machine.read("/etc/hosts")

    def broken(self: Path, *_: Any, **__: Any) -> str:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "read_text", broken)
    with pytest.raises(OSError, match="full"):
        machine.read("/etc/hosts")


@pytest.mark.parametrize(("path", "read"), [("/etc/pve/lrm", "there"), ("/etc/lrm", "gone")])
def test_a_name_that_was_renamed_over_between_look_and_open_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, read: str
) -> None:
    answers = iter([FileNotFoundError(errno.ENOENT, "renamed over"), "there"])

    def found(self: Path, *_: Any, **__: Any) -> str:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(Path, "read_text", found)
    assert Machine("node1", tmp_path).read(path, "gone") == read


def test_a_file_that_is_not_there_is_the_default(tmp_path: Path) -> None:
    assert Machine("node1", tmp_path).read("/etc/pve/nothing", "gone") == "gone"

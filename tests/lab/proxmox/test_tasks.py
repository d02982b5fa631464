"""The list of tasks: its sources and filters are PVE::API2::Tasks'."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from proxmoxer import ResourceException

from lab.standins.proxmox.daemon.http import tasks
from lab.standins.proxmox.daemon.http.errors import TaskError
from lab.standins.proxmox.daemon.http.registry import Call

from .conftest import NODE, Rig

PATH = f"/nodes/{NODE}/tasks"
Start = Callable[..., str]


def _fails(_: tasks.Log) -> None:
    raise TaskError("it broke")


@pytest.fixture
def start(rig: Rig) -> Start:
    def begin(kind: str, id: str = "", user: str = "root@pam", work: Any = lambda log: log("x")) -> str:
        return tasks.start(Call(rig.machine, user), kind=kind, id=id, work=work)

    return begin


@pytest.fixture
def some(rig: Rig, start: Start) -> Iterator[dict[str, str]]:
    """One task of each kind of end, and one that runs until the test is over."""
    over = threading.Event()
    found = {
        "ok": start("cephcreateosd", "nvme2n1"),
        "warning": start("cephcreatemon", "mon.a", work=lambda log: log.warn("look")),
        "error": start("vzstart", "101", "ops@pve", _fails),
    }
    for upid in found.values():
        rig.task(upid)
    found["running"] = start("cephcreateosd", "nvme3n1", work=lambda _: over.wait(60))
    yield found
    over.set()


def names(rig: Rig, some: dict[str, str], **params: Any) -> set[str]:
    upids = {line["upid"] for line in rig.call("GET", PATH, **params)}
    found = {name for name, upid in some.items() if upid in upids}
    assert len(found) == len(upids)
    return found


FILTERS: tuple[tuple[dict[str, Any], set[str]], ...] = (
    ({}, {"ok", "warning", "error"}),
    ({"source": "archive"}, {"ok", "warning", "error"}),
    ({"source": "active"}, {"running"}),
    ({"source": "all"}, {"ok", "warning", "error", "running"}),
    ({"source": "active", "typefilter": "cephcreateosd"}, {"running"}),
    ({"source": "active", "typefilter": "cephcreatemon"}, set()),
    ({"source": "all", "typefilter": "cephcreate*"}, set()),
    ({"source": "all", "typefilter": "ceph"}, set()),
    ({"statusfilter": "ok"}, {"ok"}),
    ({"statusfilter": "Warning,ERROR"}, {"warning", "error"}),
    ({"source": "all", "statusfilter": "unknown"}, {"running"}),
    ({"errors": 1}, {"warning", "error"}),
    ({"errors": 1, "statusfilter": "ok"}, {"warning", "error"}),
    ({"userfilter": "OPS"}, {"error"}),
    ({"vmid": 101}, {"error"}),
    ({"vmid": 102}, set()),
    ({"since": 1 << 33}, set()),
    ({"until": 1}, set()),
    ({"since": 1, "until": 1 << 33}, {"ok", "warning", "error"}),
    ({"limit": 0}, set()),
)


def test_filters(rig: Rig, some: dict[str, str]) -> None:
    answered = [(params, names(rig, some, **params)) for params, _ in FILTERS]
    assert answered == list(FILTERS)


def test_what_runs_comes_first_and_says_so(rig: Rig, some: dict[str, str]) -> None:
    lines = rig.call("GET", PATH, source="all")
    assert (lines[0]["upid"], lines[0]["status"], "endtime" in lines[0]) == (
        some["running"],
        "RUNNING",
        False,
    )
    ends = [line["endtime"] for line in lines[1:]]
    assert ends == sorted(ends, reverse=True)


def test_pages(rig: Rig, some: dict[str, str]) -> None:
    whole = [line["upid"] for line in rig.call("GET", PATH, source="all")]
    pages = [
        line["upid"] for start in (0, 2) for line in rig.call("GET", PATH, source="all", start=start, limit=2)
    ]
    assert pages == whole


@pytest.mark.parametrize(
    ("name", "value"), [("statusfilter", "fine"), ("vmid", "7"), ("source", "old"), ("limit", "-1")]
)
def test_bad_filters_are_named(rig: Rig, name: str, value: str) -> None:
    with pytest.raises(ResourceException) as error:
        rig.call("GET", PATH, **{name: value})
    assert (error.value.status_code, list(error.value.errors)) == (400, [name])

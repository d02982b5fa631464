"""Benchmarks: what fio is told, what its report is worth, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import RefusedError, UnknownError
from cluster.site import ROOT, Site, load
from cluster.site_services import Benchmark
from provisioners.ceph.benchmarks import baseline, images, jobs, parse, run, steady
from provisioners.ceph.benchmarks.baseline import Baseline, BaselineError, Figure
from provisioners.ceph.benchmarks.fleet import drive_script
from provisioners.ceph.benchmarks.jobs import Image

TABLE = Benchmark.model_validate({})
LAB = load(ROOT / "sites" / "lab.toml")
PVE1 = load(ROOT / "sites" / "pve1.toml")
CLIENTS = {"node1.sock": "node1", "node2.sock": "node2"}


def options(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def profile(name: str) -> jobs.Profile:
    return next(p for p in jobs.profiles(TABLE) if p.name == name)


def test_a_load_has_a_ramp_and_each_job_a_part_of_the_image_to_itself() -> None:
    image = Image("rbd-vms", "node1", "librbd")
    told = options(jobs.job(TABLE, profile("random-read"), image))
    assert (told["ioengine"], told["pool"], told["rbdname"]) == ("rbd", "rbd-vms", image.name)
    assert (told["ramp_time"], told["runtime"], told["time_based"]) == ("10s", "60s", "1")
    assert told["size"] == told["offset_increment"]
    assert int(told["size"]) * TABLE.jobs <= images.size(TABLE)
    assert told["bs"] == "4096"
    assert len(told["percentile_list"].split(":")) <= 20  # more than that and fio gives up
    fill = options(jobs.prefill(TABLE, image))
    assert (fill["rw"], fill["size"], fill["offset_increment"]) == ("write", told["size"], told["size"])
    assert "runtime" not in fill  # it ends when all is written


def test_the_kernel_is_only_given_a_device_of_an_image() -> None:
    image = Image("rbd-containers", "node1", "kernel")
    told = options(jobs.job(TABLE, profile("latency"), image, "/dev/rbd0"))
    assert (told["filename"], told["direct"], told["rwmixread"]) == ("/dev/rbd0", "1", "70")
    for device in (None, "", "/dev/nvme0n1", "/dev/rbd0p1", "/dev/rbd0:/dev/sda", "/dev/rbd/../nvme0n1"):
        with pytest.raises(RefusedError, match="is no device that the kernel has mapped"):
            jobs.job(TABLE, profile("latency"), image, device)
    with pytest.raises(RefusedError, match="reached by librbd"):
        jobs.prefill(TABLE, Image("rbd-vms", "node1", "librbd"), "/dev/rbd0")


@pytest.mark.parametrize("pool", ["", "a b", "rbd;rm", "../x", "-p"])
def test_names_that_are_no_pool_are_refused(pool: str) -> None:
    with pytest.raises(RefusedError, match="cannot be the pool"):
        Image(pool, "node1", "librbd")


@pytest.mark.parametrize("site", [LAB, PVE1], ids=["lab", "pve1"])
def test_each_way_is_measured_in_the_pool_of_its_guests(site: Site) -> None:
    assert jobs.pools(site) == {"librbd": "rbd-vms", "kernel": "rbd-containers"}
    names = [image.spec for of in jobs.images(site).values() for image in of.values()]
    assert len(set(names)) == 2 * len(site.nodes)
    assert all(name.split("/")[1].startswith(jobs.PREFIX) for name in names)


def test_the_settings_for_hardware_are_as_the_plan_wants_them() -> None:
    table = run.settings(PVE1)
    assert (table.ramp, table.runtime, table.repeats) == (10, 60, 3)
    assert table.image_size * 3 > PVE1.ceph.osd_memory_target * 36  # type: ignore[union-attr]
    assert run.limit_s(PVE1) < 86400  # a dead-man's switch of at most a day


SHOWMAPPED: list[dict[str, str]] = [
    {"id": "0", "pool": "rbd-containers", "namespace": "", "name": "vm-100-disk-0", "device": "/dev/rbd0"},
    {"id": "1", "pool": "rbd-containers", "name": "rackproof-bench-node1-kernel", "device": "/dev/rbd1"},
    {"id": "2", "pool": "elsewhere", "name": "rackproof-bench-node1-kernel", "device": "/dev/rbd2"},
]


def test_the_device_is_the_one_the_kernel_says() -> None:
    image = Image("rbd-containers", "node1", "kernel")
    assert images.device_of(json.dumps(SHOWMAPPED), image) == "/dev/rbd1"
    assert images.device_of(json.dumps({e["id"]: e for e in SHOWMAPPED}), image) == "/dev/rbd1"
    twice = [*SHOWMAPPED, {**SHOWMAPPED[1], "device": "/dev/rbd3"}]
    for mapped in ([], SHOWMAPPED[:1], SHOWMAPPED[2:], twice):
        with pytest.raises(RefusedError, match="expected one device; nothing was written"):
            images.device_of(json.dumps(mapped), image)
    with pytest.raises(UnknownError, match="gave no JSON"):
        images.device_of("rbd: error", image)


def test_a_script_touches_the_benchmarks_own_images_and_no_other() -> None:
    own = {way: of["node1"] for way, of in jobs.images(LAB).items()}
    for script in (
        images.clean_script(own),
        images.setup_script(run.settings(LAB), own["librbd"], own["kernel"]),
    ):
        specs = [w for line in script.splitlines() for w in line.split() if w.startswith("rbd-")]
        assert specs
        assert all(jobs.PREFIX in spec for spec in specs)


def df(free: int, *names: str) -> dict[str, Any]:
    return {"pools": [{"name": name, "stats": {"max_avail": free}} for name in names]}


def test_a_pool_without_room_is_left_alone() -> None:
    table = run.settings(LAB)
    needed = 3 * images.size(table)
    images.room(LAB, table, df(4 * needed, "rbd-vms", "rbd-containers"))
    with pytest.raises(RefusedError, match="more than 25% of the"):
        images.room(LAB, table, df(4 * needed - 4, "rbd-vms", "rbd-containers"))
    with pytest.raises(RefusedError, match="pool rbd-containers is ordered and not there"):
        images.room(LAB, table, df(4 * needed, "rbd-vms"))


def entry(host: str, **more: Any) -> dict[str, Any]:
    """One client of fio 3.39 writing, as captured, shortened to what is read."""
    write = {
        "io_bytes": 32940032,
        "bw_bytes": 5478136,
        "iops": 1337.4,
        "runtime": 6013,
        "total_ios": 8042,
        "clat_ns": {"min": 1496404, "N": 4, "bins": {"1000000": 1, "2000000": 2, "9000000": 1}},
    } | more.pop("write", {})
    idle = {"io_bytes": 0, "bw_bytes": 0, "iops": 0.0, "runtime": 0, "total_ios": 0, "clat_ns": {"N": 0}}
    return {"jobname": "w", "error": 0, "read": idle, "write": write, "hostname": host, "port": 8765} | more


def report(*entries: dict[str, Any]) -> str:
    """With what fio puts before it and with its sum over clients, which is not used."""
    total = {"jobname": "All clients", "hostname": "node1.sock", "error": 0}
    data = {"fio version": "fio-3.39", "client_stats": [*entries, total]}
    before = "<node1> w: (g=0): rw=randwrite, ioengine=rbd, iodepth=32\n<node1> Starting 1 thread\n"
    return before + json.dumps(data, indent=2)


def read(text: str, rc: int = 0, errors: str = "", runtime_s: float | None = 6.0) -> parse.Result:
    return parse.read(text, rc, errors, clients=CLIENTS, directions=("write",), runtime_s=runtime_s)


def test_nodes_are_added_and_percentiles_taken_from_all_of_them() -> None:
    slow = {"clat_ns": {"bins": {"80000000": 4}}}
    found = read(report(entry("node1.sock"), entry("node2.sock", write=slow)))
    assert found.bytes_per_second == 2 * 5478136
    assert found.iops == pytest.approx(2674.8)
    assert found.version == "fio-3.39"
    assert parse.percentile(found.bins, 50) == 0.009
    assert parse.percentile(found.bins, 25) == 0.002
    assert parse.percentile(found.bins, 95) == 0.080
    assert run.figure(profile("random-write"), found) == found.iops
    assert run.figure(profile("sequential-write"), found) == found.bytes_per_second
    assert run.figure(profile("latency"), found) == 0.080


@pytest.mark.parametrize(
    ("text", "rc", "says"),
    [
        ("rbd_open failed.\n" + report(entry("node1.sock")), 1, "fio ended with 1: rbd_open failed"),
        ("", 127, "fio ended with 127 and gave no report: it gave no reason"),
        ("{\n  broken", 0, "gave no report"),
        (report(entry("node1.sock")), 0, "fio has no result of node2"),
        (report(entry("node1.sock"), entry("node1.sock")), 0, "in a way that was not asked"),
        (report(entry("node1.sock"), entry("node9.sock")), 0, "'node9.sock' in a way that was not asked"),
        (report(entry("node1.sock"), entry("node2.sock", error=28)), 0, "node2: .* ended with error 28"),
        (
            report(entry("node1.sock"), entry("node2.sock", write={"total_ios": 0})),
            0,
            "node2: fio completed no write",
        ),
        (
            report(entry("node1.sock"), entry("node2.sock", write={"runtime": 5600})),
            0,
            "node2: fio ran for 5.6 s, expected 6 s",
        ),
        (
            report(entry("node1.sock"), entry("node2.sock", write={"clat_ns": {"N": 0}})),
            0,
            "node2: fio reports no latencies",
        ),
        (report(entry("node1.sock"), entry("node2.sock", write={"iops": None})), 0, "not of the form known"),
    ],
)
def test_what_is_no_result_is_never_one(text: str, rc: int, says: str) -> None:
    with pytest.raises(UnknownError, match=says):
        read(text, rc)


def test_a_fill_ends_by_itself() -> None:
    short = {"write": {"runtime": 10}}
    assert read(report(entry("node1.sock", **short), entry("node2.sock", **short)), runtime_s=None).nodes


def test_bandwidth_logs_become_seconds() -> None:
    one = "999, 100, 1, 0, 0\n2000, 100, 1, 0, 0\n2999, 50, 0, 0, 0\n"
    two = "1001, 100, 1, 0, 0\n2999, 150, 1, 0, 0\n"
    assert steady.per_second([one, two]) == [200 * 1024, 100 * 1024, 200 * 1024]
    assert steady.per_second(["", "garbage"]) == []


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ([100, 101, 99, 100, 102, 98, 100], ""),
        ([100, 109, 95, 105, 92, 104, 98, 100], ""),
        ([100, 180, 20, 150, 60, 170, 30, 100], "the seconds vary by more than 20%"),
        ([120, 115, 110, 105, 100, 95, 90, 85], "it falls by more than 10%"),
        ([85, 90, 95, 100, 105, 110, 115, 120], "it rises by more than 10%"),
        ([100, 100, 0, 100, 100, 100], "nothing was moved in 1 of 6 s"),
        ([0, 0, 0, 0, 0], "nothing was moved"),
        ([100, 100, 100, 100], "4 s are too few to tell"),
        ([], "0 s are too few to tell"),
    ],
)
def test_what_is_steady(samples: list[float], says: str) -> None:
    found = steady.judge(samples, 60)
    assert found.steady == (says == "")
    assert says in found.reason
    assert str(found).startswith("steady: variation" if found.steady else "not steady: ")


def test_seconds_after_the_load_do_not_count() -> None:
    assert steady.judge([100.0] * 10 + [5.0], 10).steady
    assert not steady.judge([100.0] * 10 + [5.0], 11).steady


def base(**values: float) -> Baseline:
    figures = {name: Figure(v, "s" if name == "p95" else "IOPS", "less" if name == "p95" else "more", True)
               for name, v in values.items()}  # fmt: skip
    return Baseline("lab", "2026-01-01T00:00:00Z", {"runtime": 60.0, "pools": {"librbd": "rbd-vms"}}, figures)


def test_worse_is_less_of_a_rate_and_more_of_a_wait(tmp_path: Path) -> None:
    was = base(read=1000, p95=0.010)
    now = base(read=840, p95=0.0120)
    worse = {c.name: c.worse for c in baseline.compare(tmp_path, was, now)}
    assert worse == {"read": pytest.approx(16), "p95": pytest.approx(20)}
    better = {c.name: c.worse for c in baseline.compare(tmp_path, was, base(read=2000, p95=0.005))}
    assert better == {"read": pytest.approx(-100), "p95": pytest.approx(-50)}


def test_a_baseline_is_kept_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "lab.json"
    assert baseline.load(file) is None
    baseline.save(file, base(read=1000))
    assert baseline.load(file) == base(read=1000)
    assert [p.name for p in file.parent.iterdir()] == ["lab.json"]


def test_settings_survive_the_file_and_compare_equal(tmp_path: Path) -> None:
    """Tuples and numbers of the site's table come back from JSON as they are compared."""
    today = Baseline("lab", "t", run.described(LAB), base(read=1).figures)
    baseline.save(tmp_path / "lab.json", today)
    former = baseline.load(tmp_path / "lab.json")
    assert former is not None
    assert len(baseline.compare(tmp_path, former, today)) == 1


def test_what_was_measured_otherwise_is_not_compared(tmp_path: Path) -> None:
    was, now = base(read=1000), base(read=1000)
    other = Baseline(now.site, now.taken, {**now.settings, "runtime": 30.0}, now.figures)
    with pytest.raises(UnknownError, match=r"runtime was 60\.0 and is 30\.0.*delete it to take a new one"):
        baseline.compare(tmp_path, was, other)
    with pytest.raises(UnknownError, match="is of site 'lab', expected 'pve1'"):
        baseline.compare(tmp_path, was, Baseline("pve1", now.taken, now.settings, now.figures))
    with pytest.raises(UnknownError, match="no figure today for read"):
        baseline.compare(tmp_path, was, base(p95=1))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema": 2}',
     '{"schema": 1, "site": "x", "taken": "", "settings": {}, "figures": []}',
     '{"schema": 1, "site": "x", "taken": "", "settings": {},'
     ' "figures": {"a": {"value": 0, "unit": "s", "better": "more", "steady": true}}}'],
)  # fmt: skip
def test_a_broken_baseline_gets_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "b.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BaselineError, match=r"not a baseline of schema 1 .* delete it"):
        baseline.load(file)


def test_the_median_is_judged_and_the_spread_told() -> None:
    kept = [steady.judge([100.0] * 60, 60), steady.judge([100.0, 1.0] * 30, 60), steady.judge([1.0] * 60, 60)]
    found = run.summed(TABLE, "librbd", profile("random-read"), [900.0, 1200.0, 1000.0], {1000: 1}, kept, 3)
    assert (found.value, found.spread, found.steady) == (1000.0, 300.0, False)
    assert found.resolution == pytest.approx(3 * 4 * 32 / 60)
    assert "median of 3 (from 900 IOPS to 1200 IOPS); not steady: the seconds vary" in found.method
    calm = run.summed(TABLE, "librbd", profile("latency"), [0.004], {4_000_000: 1}, kept[:1], 3)
    assert calm.method.endswith("median of 1; steady")
    assert calm.resolution == pytest.approx(0.004 / 64)
    assert calm.curve()[0] == (1.0, 0.004)


def test_more_than_the_links_carry_was_not_storage() -> None:
    links = 3 * 2 * 200e9 / 8  # six links of 200 Gbit/s
    for rate, fine in ((links, True), (links * 1.6, False)):
        moved = {"write": {"bw_bytes": rate / 2}}
        result = read(report(entry("node1.sock", **moved), entry("node2.sock", **moved)))
        if fine:
            run._plausible(PVE1, profile("sequential-read"), result)
        else:
            with pytest.raises(UnknownError, match="more than the links of all nodes can carry"):
                run._plausible(PVE1, profile("sequential-read"), result)


def test_the_client_is_told_of_each_node() -> None:
    script = drive_script({"node1": "[a]\nrw=read\n", "node2": "[a]\nrw=write\n"}, "log", 250)
    assert "--client=sock:node1.sock node1.fio --client=sock:node2.sock node2.fio" in script
    assert "timeout -k 5 250 fio" in script

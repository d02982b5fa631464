"""The ledger end to end: real agents, real files, losses made by hand, an agent killed, a file system that
hangs for a known time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.ledger import Ledger, LostWriteError
from chaos.ledger_host import LocalHost
from chaos.ledger_record import Layout
from chaos.ledger_stores import PREFIX
from cluster.errors import UnknownError

LAYOUT = Layout(block=1024, slots=40, objects=8, object_size=8192)
HOSTS = {name: LocalHost(name) for name in ("one", "two", "three")}


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    made = (tmp_path / "a", tmp_path / "b")
    for place in made:
        place.mkdir()
    return made


def ledger(places: tuple[Path, Path]) -> Ledger:
    return Ledger(None, "one", [f"file:{place}" for place in places], 0.005, 60, layout=LAYOUT, hosts=HOSTS)


def run_until(kept: Ledger, writes: int) -> None:
    deadline = time.monotonic() + 20
    while min(kept.report().acknowledged.values()) < writes:
        assert time.monotonic() < deadline, f"{writes} writes were not acknowledged within 20 s"
        time.sleep(0.02)


def test_all_is_read_back_from_another_node_and_nothing_is_left(places: tuple[Path, Path]) -> None:
    (places[0] / f"{PREFIX}of-a-killed-run").write_bytes(b"x")
    (places[0] / "of somebody else").write_bytes(b"x")
    with ledger(places) as kept:
        run_until(kept, 100)  # two and a half times through all slots
        with pytest.raises(UnknownError, match="not read back"):
            _ = kept.report().lost
        report = kept.verify()
        assert report is kept.verify() is kept.stop()
    report.prove()
    assert (report.lost, report.torn, report.certain()) == ((), (), ())
    assert report.verified_from == ("two", "one")
    assert report.writes_acknowledged == sum(report.acknowledged.values()) >= 200
    # the first writes are before the watch begins, and a last second is not whole
    assert 0 < sum(second.n for second in report.latency_per_second) <= report.writes_acknowledged
    assert [gap.path for gap in report.longest_gap] == list(report.targets)
    assert [path.name for place in places for path in place.iterdir()] == ["of somebody else"]


def damage(file: Path, offset: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(data)


def test_each_loss_is_named_with_its_offset(places: tuple[Path, Path]) -> None:
    with ledger(places) as kept:
        run_until(kept, 60)
        kept.stop()
        first, second = (place / kept.name for place in places)
        whole = first.read_bytes()
        here, there = LAYOUT.offset(3), LAYOUT.offset(12)
        damage(first, here, bytes(1024))
        damage(first, there, whole[here : here + 1024])
        damage(second, LAYOUT.offset(7) + 512, bytes(512))
        report = kept.verify()
    assert {(loss.target, loss.offset) for loss in report.lost} == {
        (report.targets[0], here),
        (report.targets[0], there),
    }
    assert [(loss.target, loss.offset) for loss in report.torn] == [(report.targets[1], LAYOUT.offset(7))]
    assert all(loss.read_from == "two; one" for loss in report.findings)
    with pytest.raises(LostWriteError, match=f"2 acknowledged writes are lost and 1 torn.* offset {here}"):
        report.prove()


def test_a_loss_that_is_overwritten_later_is_seen_before(places: tuple[Path, Path]) -> None:
    with ledger(places) as kept:
        run_until(kept, 45)
        damage(places[0] / kept.name, LAYOUT.offset(20), bytes(1024))
        run_until(kept, 130)
        report = kept.verify()
    assert [loss.offset for loss in report.lost] == [LAYOUT.offset(20)]
    assert report.lost[0].read_from == "one, while writing"


def test_a_file_that_is_gone_is_the_loss_of_all_in_it(places: tuple[Path, Path]) -> None:
    with ledger(places) as kept:
        run_until(kept, 50)
        kept.stop()
        (places[1] / kept.name).unlink()
        report = kept.verify()
    assert len(report.lost) == LAYOUT.slots
    assert {loss.target for loss in report.lost} == {report.targets[1]}
    assert "not opened" in report.lost[0].what


def agent(kept: Ledger) -> int:
    """The agent's process: `timeout` is its parent."""
    assert kept._writer is not None and kept._writer._process is not None
    told = Path(f"/proc/{kept._writer._process.pid}/task/{kept._writer._process.pid}/children").read_text()
    return int(told.split()[0])


def test_an_agent_killed_loses_no_acknowledged_record_and_says_nothing_of_outages(
    places: tuple[Path, Path],
) -> None:
    with ledger(places) as kept:
        run_until(kept, 50)
        os.kill(agent(kept), signal.SIGKILL)
        time.sleep(0.3)
        report = kept.verify()
    report.prove()
    assert report.writes_acknowledged >= 100
    with pytest.raises(UnknownError, match="ended before it was told to"):
        report.certain()


def test_an_agent_ends_with_its_input(places: tuple[Path, Path]) -> None:
    kept = ledger(places)
    kept.start()
    process = agent(kept)
    kept.close()
    assert not Path(f"/proc/{process}").exists()
    assert [path for place in places for path in place.iterdir()] == []


def test_a_target_that_is_not_there_is_named_at_the_start(places: tuple[Path, Path]) -> None:
    with pytest.raises(UnknownError, match=r"did not begin.*no-such: connect: .*there is no folder"):
        ledger((places[0], places[0] / "no-such")).start()
    assert list(places[0].iterdir()) == []


def test_a_host_that_stands_still_is_no_outage_of_the_storage(places: tuple[Path, Path]) -> None:
    with ledger(places) as kept:
        run_until(kept, 20)
        process = agent(kept)
        os.kill(process, signal.SIGSTOP)
        time.sleep(2.0)
        os.kill(process, signal.SIGCONT)
        run_until(kept, 60)
        report = kept.stop()
    assert all(gap.seconds >= 1.9 for gap in report.longest_gap)
    assert report.certain() == ()


@pytest.fixture
def freezer(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, that can be frozen."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a file system")
    image, place = tmp_path / "image", tmp_path / "frozen"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, timeout=30)
    done = subprocess.run(["mount", "-o", "loop", str(image), str(place)], timeout=30, capture_output=True)
    if done.returncode != 0:
        pytest.skip("no loop device is to be had here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True, timeout=30)


def test_one_target_hangs_for_a_known_time_and_the_other_goes_on(freezer: Path, tmp_path: Path) -> None:
    sound = tmp_path / "sound"
    sound.mkdir()
    with ledger((freezer, sound)) as kept:
        run_until(kept, 20)
        time.sleep(1)
        script = f"fsfreeze -f {freezer}; sleep 3; fsfreeze -u {freezer}"  # thaws whatever becomes of us
        asked = time.monotonic()
        with subprocess.Popen(["sh", "-c", script]) as freezing:
            time.sleep(2.5)
            (open_gap,) = kept.report().certain()
            assert not open_gap.ended and 2.0 <= open_gap.seconds <= 2.6
            assert freezing.wait(timeout=10) == 0
        truth = time.monotonic() - asked
        time.sleep(0.5)
        report = kept.verify()
    report.prove()
    (outage,) = report.certain()
    assert outage.path == f"file:{freezer}" and outage.ended
    assert 2.9 <= outage.seconds <= truth + 0.2
    assert asked - 0.1 <= outage.start_s <= asked + 0.5
    assert report.longest[f"file:{sound}"].least_s < 1.0
    hung = [second for second in report.latency[f"file:{freezer}"] if second.n == 0]
    assert len(hung) >= 2 and hung[0].max < hung[-1].max

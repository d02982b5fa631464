"""The night that a timer starts: bounded, alone, told of even where pytest never began, then tidied up."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.site import ROOT
from steps import nightly
from tests.cluster.fakes import certificates
from tests.cluster.fakes.receivers import Hook
from tests.reports.runs import evidence, put, scenario

LAB = (ROOT / "sites" / "lab.toml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificates.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def hook(pair: tuple[Path, Path]) -> Iterator[Hook]:
    made = Hook(*pair)
    yield made
    made.close()


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runs"
    monkeypatch.setattr(nightly, "RUNS", folder)
    return folder


@pytest.fixture
def site(tmp_path: Path, pair: tuple[Path, Path], hook: Hook) -> Path:
    table = (
        f'[nightly]\nkeep = 1\nretention = "1 d"\nca_file = "{pair[0]}"\nnotify = ["webhook:{hook.url}/x"]\n'
    )
    file = tmp_path / "site.toml"
    file.write_text(LAB.replace("[hands]", f"{table}\n[hands]", 1), encoding="utf-8")
    return file


def program(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """In the place of pytest."""
    monkeypatch.setattr(nightly, "_command", lambda *_: [sys.executable, "-c", text])


def leaves(monkeypatch: pytest.MonkeyPatch, runs: Path, status: int, told: Any = None, **more: Any) -> Path:
    """A pytest that leaves a run of today and ends with this status."""
    folder = runs / time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    data = evidence(5, scenario(status=more.pop("verdict", "passed")), **more)
    kept = f"(f / 'notified.json').write_text({json.dumps({'outcomes': told})!r})" if told is not None else ""
    text = (
        "import sys; from pathlib import Path\n"
        f"f = Path({str(folder)!r}); f.mkdir(parents=True)\n"
        f"(f / 'evidence.json').write_text({json.dumps(data)!r})\n{kept}\nsys.exit({status})"
    )
    program(monkeypatch, text)
    return folder


def outcomes(folder: Path) -> list[tuple[str, bool]]:
    listed = json.loads((folder / "notified.json").read_text(encoding="utf-8"))["outcomes"]
    return [(each["to"], each["sent"]) for each in listed]


# -- the command


def test_the_command_is_the_documented_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert nightly.main(["--dry-run", "--site", str(ROOT / "sites/lab.toml"), "--seed", "7"]) == 0
    assert capsys.readouterr().out == (
        f"{sys.executable} -m pytest features/ -m chaos --site sites/lab.toml --chaos-seed 7"
        " --chaos-minutes 60 --notify\n"
    )


def test_further_options_reach_pytest(capsys: pytest.CaptureFixture[str]) -> None:
    site = str(ROOT / "sites/lab.toml")
    assert nightly.main(["--dry-run", "--site", site, "--minutes", "2.5", "--chaos", "--", "-x"]) == 0
    assert capsys.readouterr().out.endswith(" --chaos-minutes 2.5 --notify --chaos -x\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--site", "sites/pve1.toml"], "sites/pve1.toml: protected = true: a night breaks things"),
        (["--minutes", "0"], "--minutes 0: expected more than 0 and less than nightly.limit, 360"),
        (["--minutes", "nan"], "--minutes nan: expected"),
        (["--minutes", "360"], "--minutes 360: expected"),
        (["--site", "sites/none.toml"], "sites/none.toml: there is no such file"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert nightly.main(["--dry-run", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith(told) and len(said.splitlines()) == 1


# -- the run


def test_the_exit_status_is_pytests(monkeypatch: pytest.MonkeyPatch) -> None:
    assert nightly._run([sys.executable, "-c", "raise SystemExit(3)"], 30) == 3
    assert nightly._run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], 30) == 128 + 9


def test_the_limit_interrupts_so_that_the_run_heals(tmp_path: Path) -> None:
    mark = tmp_path / "healed"
    text = (
        "import time, pathlib\ntry:\n    time.sleep(60)\n"
        f"except KeyboardInterrupt:\n    pathlib.Path({str(mark)!r}).touch()"
    )
    began = time.monotonic()
    assert nightly._run([sys.executable, "-c", text], 3) == 124
    assert mark.exists()
    assert time.monotonic() - began < 30


def test_what_does_not_heal_in_its_grace_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nightly, "GRACE_S", 1)
    text = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    began = time.monotonic()
    assert nightly._run([sys.executable, "-c", text], 2) == 124
    assert time.monotonic() - began < 30


def test_being_stopped_interrupts_the_run_once(tmp_path: Path) -> None:
    ready, mark = tmp_path / "ready", tmp_path / "count"
    text = (
        "import time, pathlib, sys\ncount = 0\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "until = time.monotonic() + 60\nwhile time.monotonic() < until and not count:\n"
        "    try:\n        time.sleep(1)\n    except KeyboardInterrupt:\n        count += 1\n"
        f"time.sleep(0.5)\npathlib.Path({str(mark)!r}).write_text(str(count))\nsys.exit(2)"
    )

    def stop() -> None:
        until = time.monotonic() + 30
        while not ready.exists() and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    former = signal.getsignal(signal.SIGTERM)
    stopper = threading.Thread(target=stop)
    stopper.start()
    assert nightly._run([sys.executable, "-c", text], 60) == 2
    stopper.join()
    assert mark.read_text() == "1"
    assert signal.getsignal(signal.SIGTERM) is former


# -- telling


def test_a_run_that_never_began_is_told(
    monkeypatch: pytest.MonkeyPatch, runs: Path, site: Path, hook: Hook
) -> None:
    program(monkeypatch, "raise SystemExit(4)")
    assert nightly.main(["--site", str(site)]) == 4
    (body,) = hook.received.bodies
    assert body["text"] == "The night of lab did not begin (pytest ended with status 4)."


def test_a_killed_run_is_told_of_from_outside(
    monkeypatch: pytest.MonkeyPatch, runs: Path, site: Path, hook: Hook
) -> None:
    folder = leaves(monkeypatch, runs, 1, interrupted=True)
    assert nightly.main(["--site", str(site)]) == 1
    assert [body["verdict"] for body in hook.received.bodies] == ["interrupted"]
    assert outcomes(folder) == [("webhook 127.0.0.1", True)]


def test_whom_the_run_told_is_not_told_twice(
    monkeypatch: pytest.MonkeyPatch, runs: Path, site: Path, hook: Hook
) -> None:
    told = [{"to": "webhook 127.0.0.1", "sent": True, "detail": ""}]
    leaves(monkeypatch, runs, 1, told, verdict="failed")
    assert nightly.main(["--site", str(site)]) == 1
    assert hook.received.bodies == []


def test_whom_the_run_could_not_reach_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, runs: Path, site: Path, hook: Hook
) -> None:
    told = [
        {"to": "mail ops@rack.example", "sent": True, "detail": ""},
        {"to": "webhook 127.0.0.1", "sent": False, "detail": "no connection"},
    ]
    folder = leaves(monkeypatch, runs, 1, told, verdict="failed")
    assert nightly.main(["--site", str(site)]) == 1
    assert len(hook.received.bodies) == 1
    assert outcomes(folder) == [("mail ops@rack.example", True), ("webhook 127.0.0.1", True)]
    assert "not told" not in (runs / "index.html").read_text(encoding="utf-8")


def test_a_run_that_passed_is_not_told(
    monkeypatch: pytest.MonkeyPatch, runs: Path, site: Path, hook: Hook
) -> None:
    leaves(monkeypatch, runs, 0)
    assert nightly.main(["--site", str(site)]) == 0
    assert hook.received.bodies == []


def test_a_status_that_the_evidence_does_not_explain_is_told(
    monkeypatch: pytest.MonkeyPatch, runs: Path, site: Path, hook: Hook
) -> None:
    leaves(monkeypatch, runs, 3)
    assert nightly.main(["--site", str(site)]) == 3
    assert [body["verdict"] for body in hook.received.bodies] == ["ended with status 3"]


def test_a_receiver_that_is_away_does_not_change_the_status(
    monkeypatch: pytest.MonkeyPatch, runs: Path, site: Path, hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    hook.received.answers[:] = [404]
    folder = leaves(monkeypatch, runs, 1, verdict="failed")
    assert nightly.main(["--site", str(site)]) == 1
    assert outcomes(folder) == [("webhook 127.0.0.1", False)]
    assert (
        "NOT told how this run ended: webhook 127.0.0.1: answered with HTTP status 404"
        in capsys.readouterr().out
    )


# -- tidying up


def test_old_runs_of_this_site_go_and_the_index_is_new(
    monkeypatch: pytest.MonkeyPatch, runs: Path, site: Path
) -> None:
    put(runs, 1, scenario())
    put(runs, 2, scenario(), site="pve1")
    folder = leaves(monkeypatch, runs, 0)
    assert nightly.main(["--site", str(site)]) == 0
    left = {path.name for path in runs.iterdir() if path.is_dir()}
    assert left == {"2026-01-02T01-00-00Z", folder.name}
    index = (runs / "index.html").read_text(encoding="utf-8")
    assert "2026-01-01" not in index and folder.name in index


def test_two_nights_do_not_go_on_at_once(
    monkeypatch: pytest.MonkeyPatch, runs: Path, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.mkdir()
    program(monkeypatch, "raise SystemExit(0)")
    with (runs / ".nightly.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert nightly.main(["--site", str(site)]) == 2
    assert "another night goes on" in capsys.readouterr().err
    assert nightly.main(["--site", str(site)]) == 0

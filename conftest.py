"""Options and fixtures of a run: ties the site to the cluster, the cluster to the steps, these to the report.

Everything here is inert when no feature is run, so that `pytest tests` needs neither a site nor a rack.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos import night_record
from cluster.cluster import Cluster
from cluster.errors import RackproofError, SiteError
from cluster.site import Site, load
from reports import plugin as reporting
from reports.redaction import Redactor
from steps import modes
from steps.phases import PHASES, Phases

pytest_plugins = [
    "reports.plugin",
    "steps.collect",
    "steps.common",
    "steps.phase0_preflight",
    "steps.phase1_base_install",
    "steps.phase2_network",
    "steps.phase3_cluster",
    "steps.phase4_ceph",
    "steps.phase4_performance",
    "steps.phase4_pools",
    "steps.phase4_trials",
    "steps.phase7_ha",
    "steps.network_drills",
    "steps.notifying",
    "steps.storage_drills",
    "steps.chaos_night",
    "steps.compute_drills",
    "steps.compute_fencing",
]

ROOT = Path(__file__).resolve().parent
ENTERED = "RACKPROOF_ENTERED"
UP_DEADLINE_S = 900
site_key = pytest.StashKey[Site]()
phases_key = pytest.StashKey[Phases]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rackproof", "the cluster under test")
    group.addoption("--site", default="sites/lab.toml", help="the site file (default: %(default)s)")
    group.addoption(
        "--provision",
        choices=["missing", "never", "plan"],
        help="provision what is missing (default), only look, or print the changes and touch nothing",
    )
    group.addoption("--chaos", action=argparse_flag(), default=None, help="break things, or do not")
    group.addoption("--wipe", action="append", default=[], metavar="SERIAL", help="this drive may be erased")
    group.addoption("--medium", choices=["bmc", "usb"], default="bmc", help="how servers get the installer")
    group.addoption("--usb-device", metavar="PATH", help="with --medium usb: the stick to write, or a file")
    group.addoption("--rollback", type=int, metavar="PHASE", help="undo what a phase changed, and stop")
    group.addoption("--chaos-seed", type=int, metavar="N", help="draw the victims as run N did")
    group.addoption(
        "--chaos-minutes", type=float, metavar="M", help="a night: draw faults for so long, instead of drills"
    )
    group.addoption("--chaos-replay", metavar="RUN", help="repeat the night of an earlier run")


def argparse_flag() -> type:
    from argparse import BooleanOptionalAction

    return BooleanOptionalAction


def runs_features(config: pytest.Config) -> bool:
    """Whether a path under features/ was asked for on the command line."""
    features = ROOT / "features"
    paths = [Path(str(arg).split("::")[0]) for arg in config.args]
    return any((config.invocation_params.dir / path).resolve().is_relative_to(features) for path in paths)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Makes the machines exist and enters their network, where the site file says how; once."""
    if not runs_features(config) or config.option.collectonly or config.option.help:
        return None
    try:
        site = load(Path(config.getoption("--site")))
    except SiteError as error:
        raise pytest.UsageError(str(error)) from None
    _seed_of_night(config.option)  # before machines are made for it
    if site.rack is None or os.environ.get(ENTERED):
        return None
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)
    if site.rack.up:
        _make_machines_exist(site.rack.up)
    sys.stdout.flush()
    sys.stderr.flush()
    prefix = shlex.split(site.rack.enter or "")
    # Commands that a site file names find our own interpreter first.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    command = [*prefix, sys.executable, "-m", "pytest", *map(str, config.invocation_params.args)]
    try:
        os.execvpe(command[0], command, {**os.environ, "PATH": path, ENTERED: "1"})  # noqa: S606 - the prefix is the site's own
    except OSError as error:
        raise pytest.UsageError(
            f"{config.getoption('--site')}: rack.enter = {site.rack.enter!r}: cannot be run: {error}"
        ) from None


def _seed_of_night(option: Namespace) -> int | None:
    """The seed that is given; a replay has that of its run. Raises `UsageError` for a mistake about the
    night.
    """
    if option.chaos_minutes is not None and not 0 < option.chaos_minutes <= 24 * 60:
        raise pytest.UsageError(f"--chaos-minutes {option.chaos_minutes:g}: expected more than 0, up to 1440")
    if option.chaos_replay is None:
        given: int | None = option.chaos_seed
        return given
    if option.chaos_seed is not None:
        raise pytest.UsageError("--chaos-replay repeats a run with its seed: expected no --chaos-seed")
    try:
        return night_record.read(Path(option.chaos_replay)).seed
    except RackproofError as error:
        raise pytest.UsageError(str(error)) from None


def _repeating(config: pytest.Config) -> str:
    """The command that repeats this run, its draws included."""
    given = [str(arg) for arg in config.invocation_params.args]
    seed = (
        []
        if any(arg.startswith(("--chaos-seed", "--chaos-replay")) for arg in given)
        else [f"--chaos-seed={config.option.chaos_seed}"]
    )
    return shlex.join(["pytest", *given, *seed])


def _make_machines_exist(command: str) -> None:
    argv = shlex.split(command)
    if argv[0] == "python":
        argv[0] = sys.executable
    try:
        done = subprocess.run(argv, cwd=ROOT, check=False, timeout=UP_DEADLINE_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise pytest.UsageError(f"rack.up = {command!r} did not finish: {error}") from None
    if done.returncode != 0:
        raise pytest.UsageError(f"rack.up = {command!r} ended with status {done.returncode}; see above")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if not runs_features(config):
        return
    try:
        site = load(Path(config.getoption("--site")))
    except SiteError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[site_key] = site
    if config.option.medium == "usb" and not config.option.usb_device:
        raise pytest.UsageError("--medium usb: expected --usb-device PATH, the stick to write or a file")
    config.option.chaos_seed = _seed_of_night(config.option)
    modes.settle(config.option, protected=site.protected)
    if config.option.collectonly:
        return
    cluster = Cluster(site)
    run = reporting.open_run(
        config,
        site=site.name,
        kind=site.kind,
        seed=config.option.chaos_seed,
        redactor=Redactor(),
        relaxed=site.relax,
        command=_repeating(config),
    )
    cluster.observer = run.transcript
    config.stash[phases_key] = Phases(cluster, modes.Mode.of(config.option), run)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not runs_features(config):
        return
    option = config.option
    # A trial writes and removes something of its own: who only looks does not even do that.
    left_out = {"trial"} if option.provision == "never" else set()
    if not option.chaos:
        # A flood of traffic can cost a cluster its quorum: what loads a network is left out too.
        left_out |= {"drill", "night", "rollback", "load"}
    elif option.chaos_minutes is not None or option.chaos_replay is not None:
        left_out.add("drill")  # the night draws from the same faults
    else:
        left_out.add("night")
    broken = [item for item in items if any(item.get_closest_marker(tag) for tag in left_out)]
    if broken:
        config.hook.pytest_deselected(items=broken)
        items[:] = [item for item in items if item not in broken]


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """`--provision plan` and `--rollback` print or undo, and run no scenario."""
    phases = session.config.stash.get(phases_key, None)
    if phases is None or session.config.option.collectonly:
        return None
    with contextlib.suppress(
        RackproofError
    ):  # what cannot be read is found by preflight, and is not known to us
        phases.keep_secrets()
    try:
        if session.config.option.provision == "plan":
            phases.print_plan()
            return True
        if session.config.option.rollback is not None:
            phases.roll_back(session.config.option.rollback)
            return True
        phases.heal_what_is_left()
    except RackproofError as error:
        raise pytest.UsageError(str(error)) from None
    asked = {
        number for number in PHASES if any(i.get_closest_marker(f"phase{number}") for i in session.items)
    }
    phases.look_ahead(asked)
    return None


def pytest_unconfigure(config: pytest.Config) -> None:
    phases = config.stash.get(phases_key, None)
    if phases is not None:
        phases.ahead.close()
        phases.cluster.close()


@pytest.fixture(scope="session")
def site(pytestconfig: pytest.Config) -> Site:
    """The cluster that was ordered."""
    return pytestconfig.stash[site_key]


@pytest.fixture(scope="session")
def phases(pytestconfig: pytest.Config) -> Phases:
    """Which phase stands, which fell, and what was last seen of each."""
    return pytestconfig.stash[phases_key]


@pytest.fixture(scope="session")
def cluster(phases: Phases) -> Iterator[Cluster]:
    """The cluster under test; connections open when first used."""
    yield phases.cluster


@pytest.fixture(scope="session")
def mode(phases: Phases) -> modes.Mode:
    """What this run may do, and its seed."""
    return phases.mode


@pytest.fixture
def notes() -> dict[str, object]:
    """What the steps of one scenario hand to each other."""
    return {}

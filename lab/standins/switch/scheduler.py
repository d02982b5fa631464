"""Comware's scheduler: jobs run once after a delay. It is the dead-man's switch of switch faults."""

from __future__ import annotations

import asyncio
import datetime
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from lab.standins.switch.ports import PortError

log = logging.getLogger("rack.switch")
Runner = Callable[[list[str]], Awaitable[bool]]
STAMP = "%a %b %d %H:%M:%S %Y"


@dataclass
class Job:
    """Commands by their number; a smaller number runs first."""

    commands: dict[int, str] = field(default_factory=dict)


@dataclass
class Schedule:
    """When which jobs run. `delay_minutes` counts from the moment that it was typed."""

    jobs: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    delay_minutes: int | None = None
    start: datetime.datetime | None = None
    last: datetime.datetime | None = None
    counts: int = 0
    status: dict[str, str] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None


def delay_minutes(text: str) -> int:
    """`hh:mm` or `mm` in minutes, as `time once delay` takes it. Raises PortError for anything else."""
    found = re.fullmatch(r"(?:(\d{1,3}):)?(\d{1,6})", text)
    if not found or (found[1] is not None and int(found[2]) > 59):
        raise PortError(f" Invalid delay {text}: hh:mm or mm is expected.")
    return int(found[1] or 0) * 60 + int(found[2])


class Scheduler:
    """Jobs and schedules of one switch, in its event loop; `minute_s` is shortened by tests only."""

    def __init__(self, run: Runner, minute_s: float = 60.0) -> None:
        self._run = run
        self._minute_s = minute_s
        self._tasks: set[asyncio.Task[None]] = set()
        self.jobs: dict[str, Job] = {}
        self.schedules: dict[str, Schedule] = {}

    def job(self, name: str) -> Job:
        """The job of that name, made when there is none."""
        return self.jobs.setdefault(name, Job())

    def schedule(self, name: str) -> Schedule:
        """The schedule of that name, made when there is none."""
        return self.schedules.setdefault(name, Schedule())

    def remove_job(self, name: str) -> None:
        """Forget a job; a schedule that names it then has nothing to run."""
        self.jobs.pop(name, None)

    def remove_schedule(self, name: str) -> None:
        """Forget a schedule: it will not fire any more."""
        held = self.schedules.pop(name, None)
        if held is not None and held.timer is not None:
            held.timer.cancel()

    def once_after(self, name: str, minutes: int) -> None:
        """Let the schedule fire once, `minutes` from now; typed again it counts anew."""
        held = self.schedule(name)
        if held.timer is not None:
            held.timer.cancel()
        held.delay_minutes = minutes
        held.start = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)
        loop = asyncio.get_running_loop()
        held.timer = loop.call_later(minutes * self._minute_s, self._fire, name)

    def _fire(self, name: str) -> None:
        task = asyncio.get_running_loop().create_task(self._execute(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _execute(self, name: str) -> None:
        held = self.schedules.get(name)
        if held is None:
            return
        held.last = datetime.datetime.now(datetime.UTC)
        held.counts += 1
        held.timer = None
        for job_name in held.jobs:
            job = self.jobs.get(job_name)
            commands = [text for _, text in sorted(job.commands.items())] if job else []
            log.info("schedule %s runs job %s", name, job_name)
            done = await self._run(commands) if commands else False
            held.status[job_name] = "Successful" if done else "Failed"

    def describe_schedules(self, name: str | None) -> str:
        """`display scheduler schedule [NAME]`."""
        chosen = {n: s for n, s in self.schedules.items() if name in (None, n)}
        return "\n".join(_describe(n, s) for n, s in chosen.items())

    def describe_jobs(self, name: str | None) -> str:
        """`display scheduler job [NAME]`."""
        lines: list[str] = []
        for job_name, job in self.jobs.items():
            if name in (None, job_name):
                lines += [
                    f"Job name: {job_name}",
                    *(f" {text}" for _, text in sorted(job.commands.items())),
                    "",
                ]
        return "\n".join(lines)


def _describe(name: str, held: Schedule) -> str:
    def stamp(moment: datetime.datetime | None) -> str:
        return moment.strftime(STAMP) if moment else "Yet to be executed"

    hours, minutes = divmod(held.delay_minutes or 0, 60)
    kind = (
        f"Run once after {hours} hours {minutes} minutes"
        if held.delay_minutes is not None
        else "Not configured"
    )
    return "\n".join(
        [
            f"Schedule name        : {name}",
            f"Schedule type        : {kind}",
            f"Start time           : {held.start.strftime(STAMP) if held.start else '-'}",
            f"Last execution time  : {stamp(held.last)}",
            f"Last completion time : {stamp(held.last)}",
            f"Execution counts     : {held.counts}",
            "-" * 71,
            f"{'Job name':<49} Last execution status",
            *(f"{job:<49} {held.status.get(job, '-NA-')}" for job in held.jobs),
        ]
    )

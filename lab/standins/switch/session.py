"""One person (or program, or job) at the command line: view, prompt, and the way from a line to an answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from lab.errors import LabError
from lab.standins.switch.grammar import Command, Handler, SyntaxProblem, match
from lab.standins.switch.ports import Fabric, PortError, PortState
from lab.standins.switch.scheduler import Scheduler

VIEWS = frozenset({"user", "system", "interface", "vlan", "job", "schedule"})
CONFIGURATION = VIEWS - {"user"}
COMMANDS: list[Command] = []


def command(views: str, *patterns: str) -> Callable[[Handler], Handler]:
    """Register a handler for patterns in views (blank-separated names, or `any`)."""
    chosen = VIEWS if views == "any" else frozenset(views.split())

    def register(handler: Handler) -> Handler:
        COMMANDS.extend(Command(chosen, tuple(pattern.split()), handler) for pattern in patterns)
        return handler

    return register


class Goodbye(Exception):  # noqa: N818 (it is no error)
    """The session ends (quit in user view)."""


class Session:
    """A command line on one switch. `execute` returns what is printed before the next prompt."""

    def __init__(self, name: str, fabric: Fabric, scheduler: Scheduler, started: float) -> None:
        self.name = name
        self.fabric = fabric
        self.scheduler = scheduler
        self.started = started
        self.view = "user"
        self.subject = ""

    @property
    def prompt(self) -> str:
        """`<sw1>`, `[sw1]`, `[sw1-TwoHundredGigE1/0/1]` ..."""
        if self.view == "user":
            return f"<{self.name}>"
        suffix = {
            "system": "",
            "interface": f"-{self.subject}",
            "vlan": f"-vlan{self.subject}",
            "job": f"-job-{self.subject}",
            "schedule": f"-schedule-{self.subject}",
        }[self.view]
        return f"[{self.name}{suffix}]"

    def enter(self, view: str, subject: str = "") -> None:
        """Change the view."""
        self.view, self.subject = view, subject

    def leave(self) -> None:
        """`quit`: one view up; from user view the session ends."""
        if self.view == "user":
            raise Goodbye
        self.enter("user" if self.view == "system" else "system")

    def port(self, name: str) -> PortState:
        """The state of one port."""
        return next(port for port in self.fabric.ports() if port.name == name)

    def uptime_s(self) -> float:
        """Seconds since the switch was started."""
        return time.monotonic() - self.started

    def execute(self, line: str) -> str:
        """Answer to one line. Raises Goodbye when the session ends."""
        text = line.split("|", 1)[0].rstrip()
        if not text.strip():
            return ""
        known = [port.name for port in self.fabric.ports()]
        try:
            chosen, arguments = match(COMMANDS, self.view, text, known)
            answer = chosen.handler(self, *arguments)
        except SyntaxProblem as problem:
            caret = " " * (len(self.prompt) + problem.column) + "^"
            return f"{caret}\n % {problem.kind} found at '^' position."
        except PortError as error:
            return str(error)
        except LabError as error:
            return f" The operation failed: {error}"
        return _filtered(answer, line)


def _filtered(answer: str, line: str) -> str:
    """`| include X`, `| exclude X`, `| begin X` (regular expressions)."""
    found = re.search(r"\|\s*(i\w*|e\w*|b\w*)\s+(.+)$", line)
    if not found:
        return answer
    verb, pattern = found[1], found[2].strip()
    lines = answer.splitlines()
    try:
        hits = [re.search(pattern, text) is not None for text in lines]
    except re.error:
        return " % Wrong parameter found in the regular expression."
    if verb.startswith("b"):
        first = hits.index(True) if True in hits else len(lines)
        return "\n".join(lines[first:])
    wanted = verb.startswith("i")
    return "\n".join(text for text, hit in zip(lines, hits, strict=True) if hit is wanted)

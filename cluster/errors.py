"""What a run can say went wrong: one sentence a user can act on; `verdict` is what the report writes."""

from __future__ import annotations

from typing import ClassVar


class RackproofError(Exception):
    """Base of every error that is shown to a user as one sentence, without a traceback."""

    verdict: ClassVar[str] = "failed"


class SiteError(RackproofError):
    """The site file is wrong: file, key, value and what was expected."""


class UnreachableError(RackproofError):
    """A host, BMC, switch or endpoint did not answer within the deadline that the message states."""


class DeadlineError(RackproofError):
    """A wait passed its deadline; the message states what was awaited, where, and for how long."""


class NotConvergedError(RackproofError):
    """What is true still differs from what is ordered; the message lists the difference."""


class RefusedError(RackproofError):
    """A guard forbade the step (data on a disk, unhealthy cluster, second fault); nothing was changed."""


class UnknownError(RackproofError):
    """The probe or checker itself failed, so nothing was shown. Never a pass."""

    verdict = "unknown"


class NotApplicableError(RackproofError):
    """The site cannot have what the scenario asks; carries the stable id of the reason. Never green."""

    verdict = "not applicable"

    def __init__(self, reason_id: str, reason: str, instead: str = "") -> None:
        self.reason_id = reason_id
        self.instead = instead
        super().__init__(f"{reason_id}: {reason}" + (f" Instead: {instead}" if instead else ""))


class BlockedError(RackproofError):
    """An earlier phase fell, so this could not be tried."""

    verdict = "blocked"

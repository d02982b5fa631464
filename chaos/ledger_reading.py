"""One reader's view of a ledger that was written: what its agent sends is judged as it comes."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from chaos.ledger_course import Target
from chaos.ledger_host import Message
from chaos.ledger_model import Loss
from chaos.ledger_record import Layout


class Reading:
    """Takes the messages of an agent that reads back, and later removes. `done`, `cleared`: numbers of
    targets; `trouble`: target's number -> why nothing can be said of it from this node; `left`: why image or
    file could not be removed.
    """

    def __init__(self, node: str, targets: Sequence[Target], layout: Layout) -> None:
        self.node = node
        self.losses: list[Loss] = []
        self.seen = 0
        self.done: set[int] = set()
        self.trouble: dict[int, str] = {}
        self.cleared: set[int] = set()
        self.left: dict[int, str] = {}
        self._targets = targets
        self._layout = layout

    def take(self, message: Message) -> None:
        """Take one message. Raises as `Course.heard`."""
        kind = message["k"]
        if kind in ("beat", "stall"):
            return
        number = int(message["t"])
        if kind == "blocks":
            self._blocks(number, int(message["slot"]), base64.b64decode(message["data"], validate=True))
        elif kind == "unread":
            self._unread(number, int(message["slot"]), int(message["count"]), str(message["why"]))
        elif kind == "unopened":
            self._unopened(number, str(message["stage"]), str(message["why"]))
            self.done.add(number)
        elif kind == "read":
            self.done.add(number)
        elif kind == "cleared":
            self.cleared.add(number)
        elif kind == "left":
            self.left[number] = str(message["why"])

    def unfinished(self, why: str) -> None:
        """The agent is gone or late: of what it did not finish nothing is known."""
        for number in range(len(self._targets)):
            if number not in self.done:
                self._note(number, why)

    def _note(self, number: int, why: str) -> None:
        self.trouble[number] = f"{self._targets[number].name} from {self.node}: {why}"

    def _blocks(self, number: int, first: int, data: bytes) -> None:
        target, size = self._targets[number], self._layout.block
        for index, slot in enumerate(range(first, target.history.used, self._layout.objects)):
            self._found(target.judge.judge(target.history, slot, data[index * size : (index + 1) * size]))
            self.seen += 1

    def _unread(self, number: int, first: int, count: int, why: str) -> None:
        target = self._targets[number]
        for index in range(count):
            self._found(target.judge.unread(target.history, first + index * self._layout.objects, why))

    def _unopened(self, number: int, stage: str, why: str) -> None:
        """No connection to the cluster says nothing of the data; no image is the loss of all that was in
        it.
        """
        if stage == "connect":
            self._note(number, f"no connection: {why}")
            return
        for first, count in self._layout.runs(self._targets[number].history.used):
            self._unread(number, first, count, f"not opened: {why}")

    def _found(self, loss: Loss | None) -> None:
        if loss is not None:
            self.losses.append(loss.seen_from(self.node))

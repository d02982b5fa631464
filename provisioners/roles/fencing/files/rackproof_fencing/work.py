"""What takes long is asked of a peer's BMC beside the loop, one thing at a time: a look, a power order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic

from .agent import Agent, AgentError
from .config import Bmc
from .credentials import CredentialsError, Store
from .model import Order, Outcome, Peer, Reading
from .redfish import RedfishError, RefusedError, System, identify


class Work:
    """One peer's BMC and the one thing that is being asked of it."""

    def __init__(self, peer: Peer, bmc: Bmc, store: Store, agent: Agent) -> None:
        self._peer, self._bmc, self._store, self._agent = peer, bmc, store, agent
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=peer.name)
        self._asked: Future[Reading | Outcome] | None = None
        self._system: System | None = None

    @property
    def busy(self) -> bool:
        """Something has been asked and has not ended."""
        return self._asked is not None and not self._asked.done()

    def told(self) -> Reading | Outcome | None:
        """What has ended since the last call."""
        if self._asked is None or not self._asked.done():
            return None
        asked, self._asked = self._asked, None
        return asked.result()

    def look(self) -> None:
        """Ask the BMC who it is."""
        self._start(self._look)

    def power(self, order: Order) -> None:
        """Order OFF or ON, of the system that the last look found."""
        self._start(lambda: self._power(order))

    def tell(self, outcome: Outcome) -> None:
        """An order that was not given after all."""
        self._asked = Future()
        self._asked.set_result(outcome)

    def stop(self) -> None:
        """Kill what runs; nothing is started any more."""
        self._agent.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _start(self, task: Callable[[], Reading | Outcome]) -> None:
        self._asked = self._thread.submit(task)

    def _look(self) -> Reading:
        try:
            self._system = identify(self._bmc, self._store.get(), self._peer.serial)
        except RefusedError as error:
            self._store.doubt()
            return Reading(monotonic(), problem=f"{error} of {self._store.names}")
        except (RedfishError, CredentialsError) as error:
            return Reading(monotonic(), problem=str(error))
        return Reading(monotonic(), self._system.serial, self._system.power)

    def _power(self, order: Order) -> Outcome:
        if self._system is None or self._system.serial != self._peer.serial:
            return Outcome(monotonic(), order, f"the BMC of {self._peer.name} has not told its serial number")
        try:
            self._agent.order(order.value, self._bmc, self._store.get(), self._system.uri)
        except (AgentError, CredentialsError) as error:
            return Outcome(monotonic(), order, str(error))
        return Outcome(monotonic(), order)

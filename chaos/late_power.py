"""A node that is brought back by its BMC though the harness be gone: what is dead cannot heal itself.

Why on the controller: it needs only what the guard has just seen to work (the BMC answers here). A BMC offers
no switching on at a later time; a surviving peer would have to be given the BMC's password and a way to it,
which may be the very thing that a drill cuts, and a peer without quorum resets itself and its timers with it.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from chaos.late import Late, late_folder, serve
from chaos.ports import BmcPort, ClusterPort
from cluster.aws import NotFoundError, Parameter
from cluster.bmc import Bmc
from cluster.errors import RackproofError
from cluster.secrets import PREFIX, Secrets, parameter_name
from cluster.site import Site, load

OFF_S = 60.0
"""Within this time a server must be off that was told to."""
BACK_S = 600.0
"""The longest that a server may take to start: self-tests of one with much memory take minutes."""
KNOCK_S = 5.0
"""A node is silent that does not greet by SSH within so many seconds."""
AGAIN, AGAIN_S = 20, 15.0
"""A BMC that does not answer is asked again so often, with this pause."""
SSH = 22
_POLL_S = 2.0


@runtime_checkable
class LatePowerPort(Protocol):
    """Who can be told beforehand to bring a node back after `seconds`, by a name of the caller's."""

    def arm_start(self, name: str, node: str, seconds: float) -> None: ...

    def armed_starts(self) -> list[str]: ...

    def disarm_start(self, name: str) -> bool: ...

    def start_fired(self, name: str) -> bool: ...


def power_of(cluster: ClusterPort) -> LatePowerPort:
    """Who brings the cluster's nodes back."""
    own = getattr(cluster, "late_power", None)
    if isinstance(own, LatePowerPort):
        return own
    secrets: Secrets = getattr(cluster, "secrets")  # noqa: B009 - chaos's own port need not name it
    return LatePower(cluster.site, secrets.resolve)


class LatePower:
    """Late processes that speak to BMCs. `resolve(reference)` gives the value of an `ssm:` reference: it goes
    to the process by a pipe, and stands in no file and on no command line.
    """

    def __init__(self, site: Site, resolve: Callable[[str], str], folder: Path | None = None) -> None:
        self._site, self._resolve = site, resolve
        self._late = Late(folder or late_folder(site), "power", "chaos.late_power")

    def arm_start(self, name: str, node: str, seconds: float) -> None:
        """Have the node brought back after `seconds`. Raises `RefusedError` where that is not certain."""
        bmc = self._site.node(node).bmc
        names = [parameter_name(each, node=node) for each in (bmc.user, bmc.password)]
        private = json.dumps({each: self._resolve(PREFIX + each) for each in names})
        order = {"site": str(Path(self._site.file).resolve()), "node": node}
        self._late.arm(name, seconds, order, private)

    def armed_starts(self) -> list[str]:
        """Names whose process waits now."""
        return self._late.armed()

    def disarm_start(self, name: str) -> bool:
        """False where it was not armed or has fired already."""
        return self._late.disarm(name)

    def start_fired(self, name: str) -> bool:
        return self._late.fired(name)


def bring_back(
    bmc: BmcPort, silent: Callable[[], bool], withdrawn: Callable[[], bool] = lambda: False
) -> None:
    """Switch on a node that is off. One that is on and `silent` may be starting: only where it is so for
    `BACK_S`, it is switched off, seen off, and on. Raises as `cluster.bmc.Bmc`.
    """
    deadline = time.monotonic() + BACK_S
    while bmc.power_state() != "Off":
        if withdrawn() or not silent():
            return
        if time.monotonic() >= deadline:
            bmc.power("ForceOff")
            bmc.wait_power("Off", OFF_S)
            break
        time.sleep(_POLL_S)
    bmc.power("On")


def silent(address: str, port: int = SSH) -> bool:
    """Whether nobody greets there by SSH: a kernel that hangs may still take connections."""
    try:
        with socket.create_connection((address, port), KNOCK_S) as door:
            return door.recv(4) != b"SSH-"
    except OSError:
        return True


class _Given:
    """Parameters that were handed over, in the place of AWS."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def parameters(self) -> dict[str, Parameter]:
        return {name: Parameter(name, "SecureString", text, 1) for name, text in self._values.items()}

    def parameter(self, name: str) -> Parameter:
        raise NotFoundError(f"{name} was not handed over")


def _start(order: Mapping[str, Any], private: str, withdrawn: Callable[[], bool]) -> None:
    site = load(Path(order["site"]))
    spec = site.node(order["node"])
    bmc = Bmc(spec, Secrets(_Given(json.loads(private)), site))
    try:
        for left in reversed(range(AGAIN)):
            try:
                bring_back(bmc, lambda: silent(str(spec.address)), withdrawn)
                return
            except RackproofError:
                if not left or withdrawn():
                    raise
                time.sleep(AGAIN_S)
    finally:
        bmc.close()


if __name__ == "__main__":
    sys.exit(serve(_start))

"""`python3 -m pve_standin.guests ACTION SID`: this node's guests, for systemd and high availability.

start SID | stop SID | status SID | migrate SID NODE     exit codes as OCF has them
release SID       what the unit of a container runs when it has ended
start-all         guests with `onboot` that are not managed, when the node has started
stop-all          every guest that runs, before the node goes down
"""

from __future__ import annotations

import socket
import sys

from ..http.machine import Machine
from . import running

SUCCESS, FAILED, ARGUMENTS, NOT_RUNNING = 0, 1, 2, 7


def main(words: list[str]) -> int:
    machine = Machine(socket.gethostname().partition(".")[0])
    if words in (["start-all"], ["stop-all"]):
        from . import boot  # late: a monitor needs little

        return boot.start_all(machine) if words == ["start-all"] else boot.stop_all(machine)
    if len(words) < 2 or len(words) != (3 if words[0] == "migrate" else 2):
        print(__doc__, file=sys.stderr)
        return ARGUMENTS
    kind, _, vmid = words[1].partition(":")
    if kind not in ("ct", "vm") or not vmid.isdigit():
        print(f"'{words[1]}' is no service id, expected ct:<vmid> or vm:<vmid>", file=sys.stderr)
        return ARGUMENTS
    if words[0] == "status":
        runs = running.is_running(machine, "lxc" if kind == "ct" else "qemu", int(vmid))
        return SUCCESS if runs else NOT_RUNNING
    from . import service

    return service.act(machine, *words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

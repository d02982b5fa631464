"""`python3 -m rackproof_fencing CONFIGURATION`: the fencing service of this node, in the foreground."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from threading import Event

from .agent import Agent
from .config import Config, ConfigError, load
from .corosync import Membership
from .credentials import Store
from .journal import Journal
from .service import Service
from .work import Work

MOUNT = Path("/etc/pve")
RUN = Path("/run/rackproof-fencing")
LOG = Path("/var/log/rackproof/fencing.jsonl")
_BAD_CONFIGURATION = 78  # EX_CONFIG of sysexits.h; systemd then does not start the service again


def works(config: Config) -> dict[str, Work]:
    """The peers' BMCs by name."""
    return {peer.name: Work(peer, bmc, Store(bmc.user, bmc.password), Agent()) for peer, bmc in config.peers}


def main() -> int:
    """Exit status."""
    try:
        config = load(Path(sys.argv[1]))
    except (ConfigError, IndexError) as error:
        print(f"<2>rackproof-fencing: {error}", file=sys.stderr)
        return _BAD_CONFIGURATION
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Service(config, Membership(), MOUNT, RUN, works(config), Journal(LOG)).run(stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())

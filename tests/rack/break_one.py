"""The harness that tests/rack/test_faults.py kills: breaks one fault, holds it, heals it.

python -m tests.rack.break_one KIND PARAMETERS-AS-JSON HOLD-SECONDS
"""

from __future__ import annotations

import json
import os
import sys
import time
from functools import partial
from pathlib import Path

from chaos import guards
from chaos.engine import Engine
from chaos.fault import rebuild
from cluster.cluster import Cluster
from cluster.site import load

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / os.environ.get("RACKPROOF_SITE", "sites/lab.toml")


def main() -> int:
    """0 once the fault was broken and healed."""
    kind, parameters, hold_s = sys.argv[1:4]
    fault = rebuild(kind, json.loads(parameters))
    say = partial(print, flush=True)
    with (
        Cluster(load(SITE)) as cluster,
        Engine(cluster, guards.whole(), say=say).fault(fault),
    ):
        say("broken")
        time.sleep(float(hold_s))
        say("healing")
    say("restored")
    return 0


if __name__ == "__main__":
    sys.exit(main())

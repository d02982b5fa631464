"""Which bridge a server's port is cabled to, by what the switches present themselves as."""

from __future__ import annotations

import dataclasses

from lab import ovs
from lab.rack import Rack


def test_ports_are_cabled_as_the_mode_says(hardware: Rack) -> None:
    assert [ovs.bridge_of(hardware, port) for port in ("p0", "p1", "m0")] == ["sw1", "sw2", "swm"]
    lag = dataclasses.replace(hardware, switch_mode="lacp")
    assert [ovs.bridge_of(lag, port) for port in ("p0", "p1", "m0")] == ["fabric", "fabric", "swm"]

"""`lab status`: what runs, what is off, what hands and defects have done."""

from __future__ import annotations

from lab import bmc, defects, lifecycle, ovs, physical, servers, snapshots
from lab.paths import State
from lab.processes import alive
from lab.rack import PORTS, Rack


def text(rack: Rack, state: State) -> str:
    """The whole rack on one page."""
    now = physical.read(state)
    lines = [
        f"rack {rack.site_name} in namespace {rack.namespace}, {rack.switch_mode}, "
        f"{(state.root / 'accelerator').read_text(encoding='ascii')}, state in {state.root}"
    ]
    for server in rack.server:
        drives = " ".join(
            drive.serial if now.in_bay(server.name, drive.serial) else f"({drive.serial} out)"
            for drive in rack.drives(server)
        )
        links = " ".join(f"{port}:{'up' if now.link_up(server.tap(port)) else 'down'}" for port in PORTS)
        lines.append(
            f"  {server.name:8} {servers.power_state(server.name):10} bmc {server.bmc:12} {links}  {drives}"
        )
    for daemon in daemon_names(rack, state):
        lines.append(f"  {daemon:14} {'runs' if alive(state, daemon) else 'DEAD (run lab up)'}")
    lines.append(f"  saved: {', '.join(snapshots.names(state)) or 'nothing'}")
    broken = [f"{name} {target}".strip() for name, target in defects.broken(state)]
    lines.append(f"  defects: {', '.join(broken) or 'none'}")
    return "\n".join(lines)


def daemon_names(rack: Rack, state: State) -> list[str]:
    """Names of all daemons that an up rack runs."""
    modules = [ovs, servers, bmc, *lifecycle.service_modules()]
    return [daemon.name for module in modules for daemon in module.daemons(rack, state)]

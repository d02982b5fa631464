"""The servers: libvirt domains, their drives and firmware variables, power, links and drive bays.

Runs inside the rack's namespaces. One connection to libvirt is kept: a link change takes milliseconds.
"""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt
import libvirt_qemu  # type: ignore[import-untyped]  # comes without stubs

from lab import domain, ovs, physical
from lab.errors import DeadlineError, LabError
from lab.paths import State, state_folder
from lab.processes import Daemon, run
from lab.rack import Rack, Server, load

URI = "qemu:///system"
SOCKET = Path("/run/libvirt/libvirt-sock")
CONFIG = Path("/etc/libvirt")
LIVE_AND_CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG
UNPLUG_DEADLINE_S = 30.0
OFF_DEADLINE_S = 120.0

libvirt.registerErrorHandler(lambda _context, _error: None, None)  # else it prints what we handle


def daemons(rack: Rack, state: State) -> list[Daemon]:
    """libvirtd, of the rack's own."""
    del rack
    return [Daemon("libvirtd", ["libvirtd"], _answers, env={"TMPDIR": str(state.tmp)}, ready_deadline_s=60)]


def prepare(rack: Rack, state: State) -> None:
    """Configuration of libvirtd: everything as root, no cgroups, no polkit, logs in plain files."""
    del rack
    CONFIG.mkdir(exist_ok=True)
    (CONFIG / "qemu.conf").write_text(
        'user = "root"\ngroup = "root"\nsecurity_driver = "none"\nstdio_handler = "file"\n'
        "cgroup_controllers = []\nnamespaces = []\nremember_owner = 0\ndynamic_ownership = 0\n",
        encoding="ascii",
    )
    (CONFIG / "libvirtd.conf").write_text(
        'auth_unix_ro = "none"\nauth_unix_rw = "none"\nunix_sock_group = "root"\n'
        f'log_outputs = "3:file:{state.logs}/libvirtd-messages.log"\n',
        encoding="ascii",
    )
    (CONFIG / "libvirt.conf").touch()
    SOCKET.parent.mkdir(parents=True, exist_ok=True)


def _answers() -> bool:
    if not SOCKET.is_socket():
        return False
    try:
        libvirt.openReadOnly(URI).close()
    except libvirt.libvirtError:
        return False
    return True


@functools.cache
def _kept() -> list[Any]:
    return []


def connection() -> Any:
    """The kept connection to the rack's libvirt. Raises LabError when libvirtd does not answer."""
    kept = _kept()
    if not kept or not kept[0].isAlive():
        try:
            kept[:] = [libvirt.open(URI)]
        except libvirt.libvirtError as error:
            raise LabError(f"the rack's libvirtd does not answer ({error}); is the rack up?") from error
    return kept[0]


@contextmanager
def _said(what: str) -> Iterator[None]:
    """libvirt's complaints as LabError."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise LabError(f"{what}: {error}") from error


def find(name: str) -> Any:
    """The libvirt domain of a server. Raises LabError when it is not racked."""
    with _said(f"{name} is not racked"):
        return connection().lookupByName(name)


def running(name: str) -> bool:
    return bool(find(name).isActive())


def power_state(name: str) -> str:
    """ "on", "off" or "suspended"."""
    state, _ = find(name).state()
    if state == libvirt.VIR_DOMAIN_PAUSED:
        return "suspended"
    return "on" if find(name).isActive() else "off"


def rack_up(rack: Rack, state: State, accelerator: str) -> list[str]:
    """Drives, firmware variables and definitions of all servers, or what is missing; names newly racked."""
    known = {item.name() for item in connection().listAllDomains()}
    racked = []
    for server in rack.server:
        _storage(rack, state, server)
        if server.name not in known:
            text = domain.describe(rack, state, server, physical.read(state), accelerator)
            with _said(f"{server.name} cannot be racked"):
                connection().defineXML(text)
            racked.append(server.name)
    return racked


def _storage(rack: Rack, state: State, server: Server) -> None:
    """Blank drives and firmware variables, where there are none."""
    for drive in rack.drives(server):
        file = domain.disk_path(state, drive.serial)
        if not file.exists():
            fresh = file.with_suffix(".new")
            run(["qemu-img", "create", "-q", "-f", "qcow2", str(fresh), f"{drive.gib}G"])
            fresh.rename(file)
    variables = domain.nvram_path(state, server)
    if not variables.exists():
        shutil.copyfile(domain.firmware()[1], variables)


def redefine_drives(rack: Rack, state: State, server: Server) -> None:
    """Write the bays as they are now into the server's definition; an inserted CD and the like stay."""
    tree = ET.fromstring(find(server.name).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))  # noqa: S314 (libvirt's own)
    for line in tree.findall(f"{{{domain.QEMU}}}commandline"):
        tree.remove(line)
    tree.append(domain.command_line(rack, state, server, physical.read(state)))
    with _said(f"{server.name}: bays"):
        connection().defineXML(ET.tostring(tree, encoding="unicode"))


def monitor(name: str, command: str, **arguments: Any) -> Any:
    """One QMP command to a running server; its `return`. Raises LabError with QEMU's own words."""
    request = json.dumps({"execute": command, "arguments": arguments})
    with _said(f"{name}: {command}"):
        answer = json.loads(libvirt_qemu.qemuMonitorCommand(find(name), request, 0))
    if "error" in answer:
        raise LabError(f"{name}: {command}: {answer['error'].get('desc', answer['error'])}")
    return answer.get("return")


def set_drive(rack: Rack, state: State, name: str, serial: str, present: bool) -> None:
    """Put a drive into its bay or take it out, hot when the server runs.

    Raises LabError for an unknown drive, DeadlineError when the running system does not let go of it in time.
    """
    server = rack.find(name)
    rack.drive(server, serial)  # refuses a serial that is not this server's
    with physical.change(state) as touched:
        if touched.in_bay(name, serial) == present:
            return
        touched.set_drive(name, serial, present)
    redefine_drives(rack, state, server)
    if not running(name):
        return
    if present:
        monitor(
            name,
            "device_add",
            driver="nvme",
            id=domain.device_id(serial),
            drive=domain.drive_id(serial),
            serial=serial,
            bus=domain.slot_id(serial),
        )
    else:
        monitor(name, "device_del", id=domain.device_id(serial))
        _wait_unplugged(name, serial)


def _wait_unplugged(name: str, serial: str) -> None:
    deadline = time.monotonic() + UNPLUG_DEADLINE_S
    while time.monotonic() < deadline:
        entries = monitor(name, "qom-list", path="/machine/peripheral")
        if not any(entry["name"] == domain.device_id(serial) for entry in entries):
            return
        time.sleep(0.1)
    raise DeadlineError(
        f"{name} did not let go of drive {serial} within {UNPLUG_DEADLINE_S:.0f} s "
        "(is its operating system up?)"
    )


def set_link(
    node: str, port: str, up: bool, why: str = "cable", rack: Rack | None = None, state: State | None = None
) -> None:
    """Real carrier at both ends of a server's link (a few ms). `why` is who holds it down: cable, switch, ...

    The link is up only when nobody holds it down. Works for servers that are off. Raises LabError.
    """
    rack, state = rack or load(), state or state_folder()
    server = rack.find(node)
    tap = server.tap(port)
    with physical.change(state) as touched:
        touched.set_link(tap, why, up)
        wanted = touched.link_up(tap)
    server_end(node, tap, wanted)
    ovs.set_admin(tap, wanted)


def server_end(node: str, tap: str, up: bool) -> None:
    machine = find(node)
    live = machine.isActive()
    tree = ET.fromstring(machine.XMLDesc(0))  # noqa: S314 (libvirt's own)
    for interface in tree.iter("interface"):
        target = interface.find("target")
        if target is None or target.get("dev") != tap:
            continue
        link = interface.find("link")
        if link is None:
            link = ET.SubElement(interface, "link")
        link.set("state", "up" if up else "down")
        flags = LIVE_AND_CONFIG if live else libvirt.VIR_DOMAIN_AFFECT_CONFIG
        with _said(f"{node}: link {tap}"):
            machine.updateDeviceFlags(ET.tostring(interface, encoding="unicode"), flags)
        return
    raise LabError(f"{node} has no port on {tap}")


def power_off_all(rack: Rack, deadline_s: float = OFF_DEADLINE_S) -> list[str]:
    """Ask all running servers to shut down, at the deadline pull the plug; names of those forced."""
    machines = [find(server.name) for server in rack.server if running(server.name)]
    for machine in machines:
        with _said(machine.name()):
            if machine.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                machine.resume()
            machine.shutdown()
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline and any(machine.isActive() for machine in machines):
        time.sleep(0.5)
    forced = [machine for machine in machines if machine.isActive()]
    for machine in forced:
        machine.destroy()
    return [str(machine.name()) for machine in forced]


def suspend_all(rack: Rack, resume: bool = False) -> list[str]:
    """Stop the processors of all running servers (or let them go on); names of those concerned."""
    wanted = libvirt.VIR_DOMAIN_PAUSED if resume else libvirt.VIR_DOMAIN_RUNNING
    names = []
    for server in rack.server:
        machine = find(server.name)
        if machine.state()[0] == wanted:
            with _said(server.name):
                machine.resume() if resume else machine.suspend()
            names.append(server.name)
    return names

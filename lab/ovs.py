"""The switches: Open vSwitch bridges in userspace (no kernel module), server ports, the controller's legs.

Runs inside the rack's namespaces. In mode `active-backup` there are two bridges joined by a patch port; in
mode `lacp` one bridge stands for both switches, as a pair with an ESI-LAG presents itself to the servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.paths import State
from lab.processes import Daemon, run
from lab.rack import Rack, Server

SOCKET = "/run/openvswitch/db.sock"
DATABASE = Path("/var/lib/openvswitch/conf.db")
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
FABRIC = "fabric"  # the one bridge of mode lacp
MANAGEMENT = "swm"  # the management switch
OOB = "oob"  # the out-of-band network; its own port bears the endpoints' addresses
CONTROLLER_M = "ctlm"
CUT_COOKIE = 0xC07
SILENCE_COOKIE = 0x51


def vsctl(*arguments: str) -> str:
    """Run ovs-vsctl (about 10 ms); its output. Raises LabError when it refuses."""
    return run(["ovs-vsctl", "--timeout=10", *arguments]).stdout.strip()


def ofctl(*arguments: str, stdin: str | None = None) -> str:
    """Run ovs-ofctl; its output."""
    return run(["ovs-ofctl", *arguments], deadline_s=10, stdin=stdin).stdout.strip()


def daemons(rack: Rack, state: State) -> list[Daemon]:
    """ovsdb-server and ovs-vswitchd, to be started in this order."""
    del rack, state
    return [
        Daemon(
            "ovsdb-server",
            ["ovsdb-server", str(DATABASE), f"--remote=punix:{SOCKET}", "--no-chdir", "-vconsole:warn"],
            lambda: Path(SOCKET).is_socket(),
            ready_deadline_s=10,
        ),
        Daemon(
            "ovs-vswitchd",
            ["ovs-vswitchd", f"unix:{SOCKET}", "--no-chdir", "--pidfile", "-vconsole:warn"],
            _switching,
            ready_deadline_s=20,
        ),
    ]


def _switching() -> bool:
    return run(["ovs-appctl", "-t", "ovs-vswitchd", "version"], check=False).returncode == 0


def prepare(rack: Rack, state: State) -> None:
    """An empty database on the first start."""
    del rack, state
    Path(SOCKET).parent.mkdir(parents=True, exist_ok=True)
    if not DATABASE.exists():
        run(["ovsdb-tool", "create", str(DATABASE), SCHEMA])


def bridge_of(rack: Rack, port: str) -> str:
    """The bridge that a server's port p0, p1 or m0 is cabled to."""
    if port == "m0":
        return MANAGEMENT
    if rack.switch_mode == "lacp":
        return FABRIC
    return rack.switch[0 if port == "p0" else 1].name


def bridges(rack: Rack) -> list[str]:
    """The bridges of the fabric."""
    return [FABRIC] if rack.switch_mode == "lacp" else [switch.name for switch in rack.switch]


def leg(vlan_id: int) -> str:
    """The controller's port in a VLAN."""
    return f"ctl{vlan_id}"


def cable(rack: Rack) -> None:
    """Make bridges, ports and addresses, or what is missing of them. Asked again it changes nothing."""
    vsctl("--no-wait", "init")
    for name in (*bridges(rack), MANAGEMENT, OOB):
        vsctl(
            "--may-exist",
            "add-br",
            name,
            "--",
            "set",
            "bridge",
            name,
            "datapath_type=netdev",
            "fail_mode=standalone",
            "other_config:mac-aging-time=300",
        )
    if rack.switch_mode == "active-backup":
        _join(rack)
    for server in rack.server:
        for port in ("p0", "p1", "m0"):
            _tap(server.tap(port), rack.fabric.mtu)
        _server_ports(rack, server)
    _controller(rack)


def _trunks(rack: Rack) -> str:
    return "trunks=" + ",".join(str(vlan.id) for vlan in rack.vlans.values())


def _join(rack: Rack) -> None:
    """The inter-switch link, tagged VLANs only."""
    first, second = (switch.name for switch in rack.switch)
    for here, there in ((first, second), (second, first)):
        name = f"{here}-peer"
        vsctl(
            "--may-exist",
            "add-port",
            here,
            name,
            "--",
            "set",
            "interface",
            name,
            "type=patch",
            f"options:peer={there}-peer",
        )
        _once(name, _trunks(rack))


def _once(port: str, *settings: str) -> None:
    """Set a new port up. One that is set up already is left alone: an operator may have changed it."""
    if vsctl("--if-exists", "get", "port", port, "external_ids:rack").strip('"') != "set":
        vsctl("set", "port", port, "vlan_mode=trunk", *settings, "external_ids:rack=set")


def _tap(name: str, mtu: int) -> None:
    """A persistent tap: the switch's end of a cable, there whether the server is on or not."""
    if not Path(f"/sys/class/net/{name}").exists():
        run(["ip", "tuntap", "add", name, "mode", "tap"])
        run(["ip", "link", "set", name, "mtu", str(mtu), "up"])


def _server_ports(rack: Rack, server: Server) -> None:
    if rack.switch_mode == "lacp":
        bond = f"{server.name}lag"
        if bond not in vsctl("list-ports", FABRIC).split():
            vsctl(
                "add-bond",
                FABRIC,
                bond,
                server.tap("p0"),
                server.tap("p1"),
                "bond_mode=balance-tcp",
                "lacp=active",
                "other_config:lacp-time=fast",
                "other_config:lacp-fallback-ab=true",
            )
        _once(bond, _trunks(rack))
    else:
        for port in ("p0", "p1"):
            vsctl("--may-exist", "add-port", bridge_of(rack, port), server.tap(port))
            _once(server.tap(port), _trunks(rack))
    vsctl("--may-exist", "add-port", MANAGEMENT, server.tap("m0"))


def _controller(rack: Rack) -> None:
    """The controller's legs: internal access ports. It never forwards, and no leg answers for another."""
    home = bridges(rack)[0]
    for vlan in rack.vlans.values():
        name = leg(vlan.id)
        vsctl(
            "--may-exist",
            "add-port",
            home,
            name,
            f"tag={vlan.id}",
            "--",
            "set",
            "interface",
            name,
            "type=internal",
            f"mtu_request={rack.fabric.controller_mtu}",
        )
        _address(name, [f"{vlan.controller}/{_prefix(vlan.subnet)}"])
    vsctl(
        "--may-exist",
        "add-port",
        MANAGEMENT,
        CONTROLLER_M,
        "--",
        "set",
        "interface",
        CONTROLLER_M,
        "type=internal",
    )
    _address(CONTROLLER_M, [f"{rack.management.controller}/{_prefix(rack.management.subnet)}"])
    endpoints = [
        rack.oob.controller,
        rack.oob.aws,
        *(server.bmc for server in rack.server),
        *(switch.management for switch in rack.switch),
    ]
    _address(OOB, [f"{address}/{_prefix(rack.oob.subnet)}" for address in endpoints])
    _isolate(rack)


def _prefix(subnet: str) -> str:
    return subnet.rpartition("/")[2]


def _address(name: str, addresses: Sequence[str]) -> None:
    """Addresses on a port; checksums in software, because a userspace switch passes frames on as they are."""
    for address in addresses:
        run(["ip", "address", "replace", address, "dev", name])
    run(["ip", "link", "set", name, "up"])
    run(["ethtool", "-K", name, "tx", "off"], check=False)


def _isolate(rack: Rack) -> None:
    """No forwarding, and no answer on one leg for the address of another.

    Linux answers on every interface for every address it has; a guest in VLAN 1 could then reach the
    controller's VLAN 6 address. The exceptions are the cloud endpoint, which the host network reaches as it
    would reach AWS, and the BMCs, which it reaches through the site's router: nodes fence each other by them.
    """
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0", encoding="ascii")
    Path("/proc/sys/net/ipv4/conf/all/arp_ignore").write_text("1", encoding="ascii")
    rules = run(["ip", "rule", "show"]).stdout
    if "blackhole" in rules:
        return
    run(["ip", "rule", "add", "pref", "100", "lookup", "local"])
    for vlan in rack.vlans.values():
        if vlan.controller == rack.services.dns:
            for address in (rack.oob.aws, *(server.bmc for server in rack.server)):
                rule = ["pref", "10", "iif", leg(vlan.id), "to", address, "lookup", "local"]
                run(["ip", "rule", "add", *rule])
    legs = [(leg(vlan.id), vlan.subnet) for vlan in rack.vlans.values()]
    for name, subnet in [*legs, (CONTROLLER_M, rack.management.subnet)]:
        for destination in (subnet, "224.0.0.0/4", "255.255.255.255"):
            run(["ip", "rule", "add", "pref", "20", "iif", name, "to", destination, "lookup", "local"])
        run(["ip", "rule", "add", "pref", "30", "iif", name, "type", "blackhole"])
    run(["ip", "rule", "delete", "pref", "0"])


def set_admin(tap: str, up: bool) -> None:
    """Raise or drop a switch port (about 5 ms). The server's end is `lab.servers.set_link`'s business."""
    run(["ip", "link", "set", tap, "up" if up else "down"], deadline_s=5)


def silence(rack: Rack, port: str, tap: str) -> None:
    """Carrier stays, frames are lost both ways: a silent link."""
    bridge = bridge_of(rack, port)
    number = vsctl("get", "interface", tap, "ofport")
    ofctl("add-flow", bridge, f"cookie={SILENCE_COOKIE:#x},priority=900,in_port={number},actions=drop")
    ofctl("mod-port", bridge, tap, "no-forward")


def unsilence(rack: Rack, port: str, tap: str) -> None:
    """Mend a silent link."""
    bridge = bridge_of(rack, port)
    number = vsctl("get", "interface", tap, "ofport")
    ofctl("del-flows", bridge, f"cookie={SILENCE_COOKIE:#x}/-1,in_port={number}")
    ofctl("mod-port", bridge, tap, "forward")

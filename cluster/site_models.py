"""The tables that every site has: where the machines are, what they hold and how they are wired.

Quantities are stored in base units: bytes (int), bit/s and seconds (float). `Field(description=...)` is the
reference text of a key, used by docs/site-file.md and by error messages.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cluster.site_types import (
    Address,
    Boolean,
    Bucket,
    HttpsUrl,
    Integer,
    Interface,
    Label,
    Line,
    Mac,
    Model,
    Rate,
    Region,
    Seconds,
    Serial,
    SitePath,
    Size,
    SsmPath,
    SsmReference,
    Subnet,
)

Positive = Annotated[Integer, Field(gt=0)]
Port = Annotated[Integer, Field(ge=1, le=65535)]
VlanId = Annotated[Integer, Field(ge=1, le=4094)]
Role = Literal["host", "guest", "ring", "oob", "storage"]


class Rack(Model):
    """How a site's machines come to exist when they are made by a program. Left out on hardware."""

    up: Line = Field(description="command that makes the machines exist; may be run again at any time")
    enter: Line | None = Field(
        None, description="prefix that puts a process where the machines can be reached"
    )


class Aws(Model):
    """Where parameters, backups and keys are, and who may read them."""

    region: Region = Field(description="AWS region")
    root: SsmPath = Field(description="path under which every parameter of this cluster lies")
    endpoint: HttpsUrl | None = Field(None, description="address of an AWS endpoint; left out for AWS itself")
    ca_file: SitePath | None = Field(None, description="certificate authority of that endpoint")
    credentials_file: SitePath | None = Field(
        None, description="AWS credentials file; left out for the usual places"
    )
    profile: Line | None = Field(None, description="profile in the credentials file")
    credential_source: Literal["rolesanywhere", "hybrid", "profile", "env", "instance-profile"] = Field(
        description="how a node comes by its identity"
    )
    node_role: Line = Field(description="IAM role that the nodes take")
    node_role_trust: tuple[Line, ...] = Field(
        (), description='principals that may take the node role, such as "rolesanywhere.amazonaws.com"'
    )
    bucket: Bucket = Field(description="S3 bucket for backups")
    kms_key: Line = Field(description="KMS key (alias, id or ARN) that encrypts secret parameters")


class Medium(Model):
    """The installer image, and where BMCs fetch what is made of it."""

    image: SitePath = Field(description="installer image (ISO)")
    sha256: SitePath = Field(description="file with the image's checksum as sha256sum writes it")
    serve_from: Address = Field(description="address of this controller that the BMCs can reach")


class Install(Model):
    """What the automated installer is told."""

    release: Line = Field(description="release of Proxmox VE on the medium")
    keyboard: Line = Field(description="keyboard layout, as the answer file names it")
    country: Annotated[Line, Field(pattern=r"^[a-z]{2}$")] = Field(
        description="country, two lower-case letters"
    )
    mailto: Annotated[Line, Field(pattern=r"^[^@\s]+@[^@\s]+$")] = Field(description="mail address of root")
    filesystem: Literal["zfs", "btrfs"] = Field(description="file system of the boot mirror")
    raid: Literal["raid1"] = Field(description="level of the boot mirror")
    repository: Literal["enterprise", "no-subscription"] = Field(description="package repository")
    subscription_key: SsmReference | None = Field(
        None, description="subscription key; needed by the enterprise repository; may contain {node}"
    )
    root_password_hash: SsmReference = Field(description="hash of root's password; may contain {node}")
    secure_boot: Boolean | None = Field(
        None, description="firmware verifies what it boots; left out: not ordered"
    )


class Pve(Model):
    """Who speaks to the API of Proxmox VE. Only root@pam may create and join a cluster, no token."""

    user: Annotated[Line, Field(pattern=r"^[^@\s]+@[^@\s]+$")] = Field(
        "root@pam", description="user and realm"
    )
    password: SsmReference = Field(description="the user's password; may contain {node}")
    port: Port = Field(8006, description="TCP port of the API")


class Ssh(Model):
    """Who logs in to the nodes, and with which keys."""

    user: Line = Field(description="user of the automation")
    private_key: SsmReference = Field(description="private key of the automation")
    public_key: SsmReference = Field(description="public key of the automation (ED25519)")
    admin_public_key: SsmReference = Field(description="public key of the people (RSA 4096)")


class Network(Model):
    """One layer-2 network with its subnet."""

    id: VlanId | None = Field(None, description="VLAN id, 1 to 4094; left out on an untagged network")
    subnet: Subnet = Field(description="IPv4 subnet")
    role: Role = Field(
        description="what it is for; oob: BMCs and switches, ring: Corosync alone, storage: a filer"
    )
    gateway: Address | None = Field(None, description="router in the subnet")


class Bond(Model):
    """Both fast ports of a node as one interface."""

    name: Interface = Field(description="name of the bond")
    mode: Literal[
        "active-backup", "802.3ad", "balance-rr", "balance-xor", "broadcast", "balance-tlb", "balance-alb"
    ] = Field(description="bonding mode of the kernel")
    switch_lag: Literal["none", "lacp"] = Field(description="what the switches offer on a node's two ports")
    miimon: Seconds = Field(description="how often carrier is looked at; 0 s: never")
    updelay: Seconds = Field(
        0.0, description="wait before a link that came back is used; a multiple of miimon"
    )
    downdelay: Seconds = Field(
        0.0, description="wait before a link that lost carrier is left; a multiple of miimon"
    )
    arp_interval: Seconds = Field(
        0.0, description="how often ARP targets are asked; 0 s: never. Excludes miimon"
    )
    arp_targets: tuple[Address, ...] = Field((), description="addresses that ARP monitoring asks")
    lacp_rate: Literal["fast", "slow"] = Field(
        "fast", description="LACP: a partner's word every 1 s or every 30 s"
    )
    xmit_hash_policy: Literal["layer2", "layer2+3", "layer3+4", "encap2+3", "encap3+4", "vlan+srcmac"] = (
        Field("layer3+4", description="what chooses the link of a flow")
    )
    mtu: Annotated[Integer, Field(ge=1280, le=9978)] = Field(description="MTU end to end, 1280 to 9978 bytes")


class Bridge(Model):
    """The VLAN-aware bridge that guests are plugged into."""

    name: Interface = Field(description="name of the bridge")
    vids: tuple[VlanId, ...] | None = Field(
        None, description="VLAN ids that the bridge carries; left out: those of the guest networks"
    )


class Drives(Model):
    """A set of equal drives in each node."""

    count: Positive = Field(description="drives in each node")
    size: Annotated[Size, Field(gt=0)] = Field(description="size of one drive")
    model: Line | None = Field(None, description="model as the drive reports it")


class Dimms(Model):
    """Memory modules of each node."""

    count: Positive = Field(description="modules in each node")
    size: Annotated[Size, Field(gt=0)] = Field(description="size of one module")
    slots: Positive = Field(description="slots on the board")
    channels: Positive = Field(description="memory channels of a node's processors together")
    speed: Positive = Field(description="transfers that the modules are sold for, MT/s")
    speed_max: Positive = Field(description="transfers that the processor supports, MT/s")


class Adapter(Model):
    """The network card that carries a node's fast links."""

    model: Line = Field(description="part number")
    count: Positive = Field(description="cards in each node")
    ports: Positive = Field(description="ports of one card")
    pcie_generation: Annotated[Integer, Field(ge=3, le=6)] = Field(
        description="PCI Express generation, 3 to 6"
    )
    pcie_lanes: Literal[4, 8, 16] = Field(description="lanes of the slot")


class Hardware(Model):
    """What each node holds, as ordered."""

    sockets: Positive = Field(description="processors")
    threads: Positive = Field(description="hardware threads of all processors together")
    cores: Positive | None = Field(None, description="cores of all processors together")
    memory: Annotated[Size, Field(gt=0)] = Field(description="memory")
    boot_drives: Drives = Field(description="drives of the boot mirror")
    data_drives: Drives = Field(description="drives for Ceph")
    model: Line | None = Field(None, description="server model")
    processor: Line | None = Field(None, description="processor model")
    dimms: Dimms | None = Field(None, description="memory modules")
    adapter: Adapter | None = Field(None, description="network card of the fast links")
    power_supplies: Positive | None = Field(None, description="power supplies")
    fans: Positive | None = Field(None, description="fans")
    tpm: Boolean | None = Field(None, description="a TPM 2.0 is fitted")


class Switch(Model):
    """One switch of the pair."""

    name: Label = Field(description="name that links refer to")
    driver: Literal["hp_comware"] = Field(description="how it is spoken to")
    address: Address = Field(description="management address")
    user: SsmReference = Field(description="user name")
    password: SsmReference = Field(description="password")
    host_key: SsmReference = Field(description="SSH host key; checked at each connection")


class Bmc(Model):
    """A node's baseboard management controller."""

    address: Address = Field(description="address on the out-of-band network")
    port: Port = Field(443, description="HTTPS port of its Redfish service")
    user: SsmReference = Field(description="user name")
    password: SsmReference = Field(description="password")
    ca_file: SitePath | None = Field(None, description="issuer of its certificate; left out: the system's")


class Link(Model):
    """One fast port of a node and where its cable ends."""

    mac: Mac = Field(description="MAC address of the port")
    switch: Label = Field(description="name of the switch at the other end")
    port: Line = Field(description="port of that switch, as the switch names it")
    speed: Annotated[Rate, Field(gt=0)] = Field(description="speed of the link")


class Ring(Model):
    """A node's port on the ring network."""

    mac: Mac = Field(description="MAC address of the port")
    address: Address = Field(description="address in the ring network")


class NodeSpec(Model):
    """One node as ordered."""

    name: Label = Field(description="host name")
    serial: Serial = Field(description="serial number of the server, as its BMC reports it")
    address: Address = Field(description="address on the host network")
    bmc: Bmc = Field(description="baseboard management controller")
    links: tuple[Link, ...] = Field(description="fast ports, two or more")
    ring: Ring | None = Field(None, description="port on the ring network; needed where there is one")
    boot_drives: tuple[Serial, ...] = Field(description="serial numbers of the boot drives")
    data_drives: tuple[Serial, ...] = Field(description="serial numbers of the data drives")


class Hands(Model):
    """Remote hands: commands that have a drive moved. {node} and {serial} are replaced."""

    pull_drive: Line = Field(description="command that pulls a drive")
    push_drive: Line = Field(description="command that pushes it back")

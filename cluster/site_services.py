"""The tables for what runs on the cluster. Each may be left out; what is left out is not ordered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cluster.site_types import (
    Boolean,
    Bucket,
    HttpsUrl,
    Integer,
    InterfaceAddress,
    Label,
    Line,
    MailAddress,
    Model,
    ModuleName,
    Number,
    Rate,
    Receiver,
    Seconds,
    Share,
    SitePath,
    Size,
    SsmReference,
)

Count = Annotated[Integer, Field(ge=0)]
Positive = Annotated[Integer, Field(gt=0)]
Ratio = Annotated[Number, Field(gt=0, le=1)]


class Gpu(Model):
    """Graphics cards of each node and how they are shared out."""

    model: Line = Field(description="model of the board as the driver reports it")
    boards: Positive = Field(description="boards in each node")
    gpus_per_board: Positive = Field(description="GPUs on one board; each is a device of its own")
    memory_per_gpu: Size = Field(description="memory of one GPU")
    partitioning: Literal["none", "passthrough", "vgpu", "mig", "auto"] = Field(
        description="how a GPU reaches guests; auto: mig where the card has it, else whole GPUs"
    )
    mig_profile: Line | None = Field(None, description='MIG profile ordered, such as "3g.20gb"')
    mig_instances: Positive | None = Field(None, description="MIG instances ordered for each board")
    lxc_share: Share | None = Field(None, description="share of the GPUs that containers get, such as 2/3")
    lxc_gpus: tuple[Count, ...] = Field((), description="whole GPUs for containers, one number a node")
    vm_gpus: tuple[Count, ...] = Field((), description="whole GPUs for virtual machines, one number a node")
    driver: Literal["data-center", "vgpu-manager"] = Field("data-center", description="driver on the hosts")
    driver_min: Line | None = Field(None, description="oldest driver release that is accepted")


class Pool(Model):
    """One Ceph pool."""

    share: Ratio = Field(
        description="part of the capacity, 0 to 1 (a weight for the autoscaler, not a limit)"
    )
    capacity: Size | None = Field(None, description="capacity that the order writes beside the share")
    application: Literal["rbd", "cephfs", "rgw"] = Field(description="what uses the pool")
    size: Positive = Field(3, description="replicas")
    min_size: Positive = Field(2, description="replicas without which input and output stop")
    pg_num: Positive | None = Field(None, description="placement groups; left out: the autoscaler decides")
    krbd: Boolean = Field(False, description="guests reach its images through the kernel, as containers must")


class Ceph(Model):
    """The storage cluster."""

    release: Line = Field(description='release by its name, such as "squid"')
    repository: Literal["enterprise", "no-subscription", "test", "manual"] = Field(
        "no-subscription",
        description="where its packages come from, as in pveceph install; manual: the node's own sources",
    )
    failure_domain: Literal["osd", "host", "rack"] = Field("host", description="what replicas never share")
    public_network: Line = Field(description="name of the network that clients use")
    cluster_network: Line = Field(description="name of the network that replicas use")
    usable: Size | None = Field(None, description="usable capacity that was promised")
    nearfull_ratio: Ratio = Field(0.85, description="fill at which Ceph warns")
    down_out_interval: Seconds = Field(600.0, description="wait before a dead OSD's data is placed elsewhere")
    osd_memory_target: Size = Field(4 * 2**30, description="memory of one OSD")
    device_class: Line = Field("ssd", description="device class that every OSD bears")
    encrypted: Boolean = Field(False, description="data drives are encrypted (dm-crypt)")
    filesystem: Line | None = Field(None, description="name of the CephFS; left out: none is ordered")
    osd_recovery: Seconds | None = Field(
        None, description="time in which the loss of an OSD was promised to be rebalanced"
    )
    rebuild_after_host_loss: Boolean = Field(
        False, description="data of a dead host was promised to be placed elsewhere"
    )
    latency_p95: Seconds | None = Field(
        None, description="95th percentile of latency promised, faults included"
    )
    settings: dict[str, Line] = Field(
        {}, description='further options, "section/option" = value, as in ceph config set'
    )
    pools: dict[str, Pool] = Field({}, description="pools by name")


class Benchmark(Model):
    """How the storage is measured. Left out: as suits hardware."""

    ramp: Seconds = Field(10.0, description="warm-up before each load; it does not count")
    runtime: Seconds = Field(60.0, description="length of each load, ramp left out")
    repeats: Positive = Field(3, description="how often each load is run; the median is judged")
    image_size: Size = Field(
        128 * 2**30,
        description="size of each node's image; all images together should exceed the OSDs' memory",
    )
    jobs: Positive = Field(4, description="fio jobs on each node, each with a part of the image to itself")
    depth: Positive = Field(32, description="operations in flight for each job: small blocks at random")
    latency_depth: Positive = Field(
        4, description="operations in flight for each job while latency is measured"
    )
    sequential_depth: Positive = Field(16, description="operations in flight for each job: large blocks")
    sequential_block: Size = Field(4 * 2**20, description="block size of transfers in sequence")
    baseline: SitePath | None = Field(
        None, description="file of the baseline; left out: reports/baselines/NAME.json with the site's name"
    )


class Corosync(Model):
    """The cluster's membership layer."""

    transport: Literal["knet", "udp", "udpu"] = Field("knet", description="transport")
    links: tuple[Line, ...] = Field(description="names of the networks of link 0, 1, ... in this order")
    token: Seconds = Field(3.0, description="time without a token after which a node counts as lost")
    priorities: tuple[Positive, ...] = Field(
        (), description="priority of link 0, 1, ...: the link with the highest carries the traffic"
    )
    migration: Line | None = Field(None, description="name of the network that guests are moved over")


class Ha(Model):
    """High availability and fencing."""

    fencing: Literal["watchdog", "redfish", "hardware", "both"] = Field(
        description="how a lost node is fenced"
    )
    power_action: Literal["ForceOff", "ForceRestart", "GracefulShutdown"] = Field(
        "ForceOff", description="Redfish action where a node is powered off on purpose"
    )
    watchdog: Seconds = Field(60.0, description="time after which a node without quorum resets itself")
    watchdog_module: ModuleName = Field(
        "softdog",
        description='kernel module of the watchdog, such as "ipmi_watchdog"; softdog dies with the kernel',
    )
    power_cycle: Boolean = Field(
        False, description="a service on every node powers a lost node off and on by Redfish, once it is dead"
    )
    power_cycle_after: Seconds = Field(
        75.0,
        description="time a node must have been gone before that; longer than the watchdog takes to bite",
    )
    shutdown_policy: Literal["conditional", "freeze", "failover", "migrate"] = Field(
        "conditional", description="what becomes of the guests of a node that is shut down on purpose"
    )
    recovery: Seconds = Field(description="time in which a guest must run again after its node is lost")
    groups: Boolean = Field(
        False, description="HA groups as of Proxmox VE 8; 9 has node affinity rules instead"
    )


class GuestHa(Model):
    """How the HA manager treats a guest. Left out: it is no HA resource."""

    state: Literal["started", "stopped", "disabled", "ignored"] = Field(
        "started", description="state that the HA manager keeps it in"
    )
    max_restart: Count = Field(1, description="starts tried on a node after the first one failed")
    max_relocate: Count = Field(1, description="further nodes tried after that")
    failback: Boolean = Field(True, description="moves back when a node comes back that it prefers")
    nodes: dict[str, Count] = Field({}, description="nodes it prefers, the highest number most; none: any")
    strict: Boolean = Field(False, description="runs on those nodes alone, and stops where none is left")


class Guest(Model):
    """A golden guest, by which it is shown that guests come back and never run twice."""

    name: Label = Field(description="host name")
    kind: Literal["container", "vm"] = Field(description="container (LXC) or virtual machine (QEMU)")
    vmid: Annotated[Integer, Field(ge=100, le=999_999_999)] = Field(
        description="number of the guest in the cluster, 100 or more"
    )
    network: Line = Field(description="name of the guest network that it is in")
    address: InterfaceAddress = Field(description="its address there, with the prefix length")
    storage: Line = Field(description="name of the pool for images that its disk lies in")
    memory: Size = Field(description="memory, whole MiB")
    cores: Positive = Field(1, description="processors")
    disk: Size = Field(2**30, description="size of its disk, whole GiB")
    unprivileged: Boolean = Field(True, description="a container's root is nobody on its node")
    kernel: SitePath | None = Field(
        None, description="kernel of a virtual machine (bzImage, drivers built in); left out: that of a node"
    )
    ha: GuestHa | None = Field(None, description="how the HA manager treats it; left out: not at all")

    @property
    def sid(self) -> str:
        """Its name as an HA resource: `ct:9001`, `vm:9002`."""
        return f"{'ct' if self.kind == 'container' else 'vm'}:{self.vmid}"

    @property
    def path(self) -> str:
        """Where the API of Proxmox VE has it on a node: `lxc/9001`, `qemu/9002`."""
        return f"{'lxc' if self.kind == 'container' else 'qemu'}/{self.vmid}"

    @property
    def beat(self) -> str:
        """URL at which it tells its heartbeat."""
        return f"http://{self.address.ip}:8080/beat"


class Backup(Model):
    """Proxmox Backup Server and where it keeps backups."""

    server: Literal["external", "guest"] = Field(description="outside the cluster, or a guest on it")
    server_network: Line = Field(description="name of the network that the server is in")
    version: Line = Field(description='version of Proxmox Backup Server, such as "4.2"')
    backend: Literal["s3", "local"] = Field(description="where chunks are kept")
    endpoint: HttpsUrl | None = Field(None, description="S3 endpoint; left out for AWS")
    bucket: Bucket | None = Field(None, description="S3 bucket")
    cache: Size | None = Field(None, description="local cache that the s3 backend needs")
    retention: Seconds = Field(description="how long every backup is kept")
    retention_elsewhere: tuple[Seconds, ...] = Field(
        (), description="other retention times that the order states"
    )
    lifecycle_expiration: Seconds | None = Field(
        None, description="age at which the bucket itself deletes objects"
    )
    drill_interval: Seconds = Field(description="how often a restore is rehearsed")
    drill_interval_elsewhere: tuple[Seconds, ...] = Field(
        (), description="other intervals that the order states"
    )


class Monitoring(Model):
    """Metrics, alerts and logs."""

    prometheus_network: Line = Field(description="name of the network that Prometheus is in")
    retention: Seconds = Field(description="how long metrics are kept")
    log_method: Literal["ama", "syslog_tls", "logs_ingestion_api", "omsagent", "none"] = Field(
        description="how logs leave the nodes"
    )
    log_target: Line | None = Field(None, description="where logs go")
    syslog_to_defender: Boolean = Field(False, description="syslog is sent to Defender XDR itself")
    alert_receivers: tuple[Line, ...] = Field((), description="who is told of an alert")


class Weka(Model):
    """The outside file system."""

    protocol: Literal["wekafs", "nfs"] = Field(description="client")
    export: Line = Field(description='what is mounted, such as "10.40.0.1:/pve1"')
    mount: Line = Field(description="mount point on the nodes")
    network: Line | None = Field(None, description="name of the network that reaches it")
    mode: Literal["dpdk", "udp"] = Field("udp", description="how the wekafs client uses the network card")
    throughput: Rate | None = Field(None, description="throughput promised to one node")


class Auth(Model):
    """How people log in to the web interface."""

    mode: Literal["ad+duo_proxy", "oidc_duo", "ad+totp", "ad+duo_plugin"] = Field(
        description="directory and second factor; ad+duo_plugin is the plan's wish, which Proxmox VE lacks"
    )
    domain: Line | None = Field(None, description="Active Directory domain")


class Isolation(Model):
    """What guests may reach on the host network in spite of the isolation."""

    allowed_flows: tuple[Line, ...] = Field(
        (), description='flows that a firewall lets pass, such as "monitoring > host tcp/9100"'
    )


class Mail(Model):
    """The server that takes mail from the controller."""

    server: Line = Field(description="host name or address of the server")
    port: Annotated[Integer, Field(ge=1, le=65535)] = Field(587, description="its port")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="TLS after STARTTLS, TLS from the first byte, or none (only without a login)"
    )
    sender: MailAddress = Field(description="address that the mail comes from")
    user: SsmReference | None = Field(None, description="login at the server; left out: none")
    password: SsmReference | None = Field(None, description="its password")


class Nightly(Model):
    """The nightly run: how long things are broken, what is kept, who is told."""

    minutes: Annotated[Integer, Field(gt=0, le=1440)] = Field(
        60, description="minutes in which faults are drawn (--chaos-minutes)"
    )
    limit: Seconds = Field(6 * 3600.0, description="time after which the whole run is stopped")
    keep: Positive = Field(30, description="newest runs of this site that are kept")
    retention: Seconds = Field(
        30 * 86400.0, description="time that every run is kept; one that did not pass three times as long"
    )
    notify: tuple[Receiver, ...] = Field(
        (), description='who is told: "webhook:https://...", "webhook:ssm:/...", "mail:...", "sns:arn:..."'
    )
    notify_on: Literal["failure", "always"] = Field(
        "failure", description="failure: only of a run that did not pass"
    )
    mail: Mail | None = Field(None, description="mail server; required where notify has a mail address")
    ca_file: SitePath | None = Field(
        None, description="certificate authority of webhooks and mail server; left out: the system's"
    )

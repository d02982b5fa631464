"""Contradictions: each order that cannot hold is named, and a site without it stays silent.

Every case starts from a site file, sets keys, and states the id, the
severity and a figure or word that the sentence must carry.
"""

from __future__ import annotations

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cluster.contradictions import IDS, Contradiction, contradictions
from cluster.site import ROOT, Site, load

LAB = ROOT / "sites" / "lab.toml"
PVE1 = ROOT / "sites" / "pve1.toml"


def changed(file: Path, values: dict[str, Any], drop: tuple[str, ...] = ()) -> Site:
    """The site of a file with values set by dotted key and tables dropped."""
    data = copy.deepcopy(tomllib.loads(file.read_text(encoding="utf-8")))
    data.pop("ordered", None)
    for key in drop:
        *path, last = key.split(".")
        here = data
        for part in path:
            here = here[part]
        here.pop(last, None)
    for key, value in values.items():
        *path, last = key.split(".")
        here = data
        for part in path:
            here = here[int(part)] if isinstance(here, list) else here.setdefault(part, {})
        here[last] = value
    return Site.model_validate(data)


def named(site: Site, reason_id: str) -> list[Contradiction]:
    return [each for each in contradictions(site) if each.id == reason_id]


CASES: list[tuple[str, Path, dict[str, Any], str, str]] = [
    ("PF-COROSYNC-TOKEN", LAB, {"corosync.token": "30s"}, "error", "66.3 s"),
    ("PF-COROSYNC-TOKEN", LAB, {"corosync.token": "20s"}, "warning", "44.3 s"),
    ("PF-COROSYNC-TOKEN", PVE1, {"ha.watchdog": "10s"}, "warning", "6.9 s"),
    ("PF-COROSYNC-TOKEN", PVE1, {"corosync.token": "500ms"}, "warning", "counts as lost"),
    ("PF-RAM", PVE1, {"hardware.dimms.count": 72}, "error", "24 slots"),
    ("PF-RAM", PVE1, {"hardware.memory": "72GB"}, "error", "2.25TiB"),
    (
        "PF-RAM",
        LAB,
        {"ceph": {"release": "squid", "public_network": "vlan6", "cluster_network": "vlan6"}},
        "error",
        "2 OSDs",
    ),
    ("PF-RAM", LAB, {}, "warning", "9.75GiB"),
    ("PF-RAM", LAB, {"kind": "acceptance", "relax": {}, "rack": None}, "error", "9.75GiB"),
    ("PF-RAM", LAB, {"hardware.memory": "2GiB"}, "error", "2.75GiB"),
    ("PF-RAM", PVE1, {"ceph.osd_memory_target": "200GiB"}, "error", "12 OSDs"),
    ("PF-RAM", PVE1, {"ceph.osd_memory_target": "512MiB"}, "error", "896MiB"),
    ("PF-PLACEHOLDER", PVE1, {}, "error", "45 serial numbers such as REPLACE-NODE1"),
    ("PF-RAM-SPEED", PVE1, {}, "info", "4800 MT/s"),
    ("PF-NIC-SPOF", PVE1, {}, "warning", "one card"),
    ("PF-PCIE", PVE1, {}, "warning", "252 Gbit/s"),
    (
        "PF-SB",
        PVE1,
        {"install.secure_boot": True, "weka.protocol": "wekafs"},
        "error",
        "Weka requires Secure Boot off",
    ),
    ("PF-SB", PVE1, {"install.secure_boot": True}, "warning", "MOK"),
    ("PF-SB", PVE1, {}, "info", "TPM"),
    ("PF-REPO", LAB, {"install.repository": "enterprise"}, "error", "401"),
    ("PF-GPU-MIG", PVE1, {}, "warning", "A100 40 GB alone"),
    ("PF-GPU-MIG", PVE1, {"gpu.partitioning": "mig"}, "error", "no MIG"),
    ("PF-GPU-PROFILE", PVE1, {"gpu.model": "NVIDIA A30", "gpu.memory_per_gpu": "24GiB"}, "error", "2g.12gb"),
    (
        "PF-GPU-PROFILE",
        PVE1,
        {"gpu.model": "NVIDIA A100-PCIE-40GB", "gpu.memory_per_gpu": "40GiB", "gpu.gpus_per_board": 1},
        "error",
        "a board 2",
    ),
    ("PF-GPU-SHARE", PVE1, {}, "info", "8 of 12"),
    ("PF-GPU-SHARE", PVE1, {"gpu.lxc_gpus": [2, 2, 2], "gpu.vm_gpus": [2, 2, 2]}, "warning", "8 of 12"),
    ("PF-GPU-SHARE", PVE1, {"gpu.lxc_gpus": [4, 3, 2]}, "error", "the node has 4"),
    ("PF-GPU-DRIVER", PVE1, {"gpu.driver": "vgpu-manager"}, "error", "no usable CUDA"),
    ("PF-GPU-DRIVER", PVE1, {"gpu.partitioning": "vgpu"}, "error", "licence"),
    ("PF-GPU-DRIVER", PVE1, {"gpu.partitioning": "mig"}, "error", "vGPU alone"),
    ("PF-BOND", LAB, {"bond.switch_lag": "lacp"}, "error", "first failover"),
    ("PF-BOND", LAB, {"bond.mode": "802.3ad"}, "error", "two aggregators"),
    ("PF-BOND", LAB, {"bond.mode": "balance-rr"}, "error", "static group"),
    (
        "PF-BOND",
        PVE1,
        {
            "node.0.links": [
                {"mac": "02:00:00:01:00:00", "switch": "sw1", "port": "a", "speed": "200G"},
                {"mac": "02:00:00:01:00:01", "switch": "sw2", "port": "a", "speed": "25G"},
            ]
        },
        "error",
        "equal speed",
    ),
    ("PF-BOND-SILENT", LAB, {}, "warning", "without end"),
    ("PF-BOND-SILENT", PVE1, {}, "warning", "after 3 s"),
    ("PF-LACP-SLOW", PVE1, {"bond.lacp_rate": "slow"}, "error", "90 s"),
    (
        "PF-LACP-SLOW",
        LAB,
        {"bond.lacp_rate": "slow", "bond.mode": "802.3ad", "bond.switch_lag": "lacp"},
        "error",
        "60 s",
    ),
    ("PF-BOND-DELAY", LAB, {"bond.downdelay": "900ms"}, "error", "lasts 1 s"),
    ("PF-BOND-DELAY", LAB, {"bond.updelay": "0ms"}, "warning", "before it forwards"),
    ("PF-BOND-DELAY", LAB, {"bond.updelay": "250ms"}, "info", "multiple of 100 ms"),
    (
        "PF-THROUGHPUT",
        LAB,
        {
            "relax": {},
            "node.0.links": [
                {"mac": "52:54:00:01:00:00", "switch": "sw1", "port": "a", "speed": "100G"},
                {"mac": "52:54:00:01:00:01", "switch": "sw2", "port": "a", "speed": "100G"},
            ],
        },
        "error",
        "100 Gbit/s at line rate",
    ),
    ("PF-THROUGHPUT", PVE1, {"hardware.adapter.pcie_lanes": 8}, "error", "126"),
    ("PF-MTU", PVE1, {"bond.mtu": 1500}, "warning", "12 million packets"),
    ("PF-VLAN1", LAB, {}, "warning", "VLAN 1"),
    ("PF-BRIDGE-VIDS", LAB, {"bridge.vids": [1, 2, 3, 4, 5, 6]}, "error", "bond0.6"),
    ("PF-BRIDGE-VIDS", LAB, {"bridge.vids": [1, 2, 3, 4]}, "error", "vlan5"),
    ("PF-ISOLATION", PVE1, {"isolation.allowed_flows": []}, "error", "Prometheus"),
    ("PF-ISOLATION", PVE1, {}, "info", "backup server"),
    (
        "PF-SWITCH-SPOF",
        LAB,
        {"node.1.links.1.switch": "sw1", "node.1.links.1.port": "b"},
        "warning",
        "both end on sw1",
    ),
    (
        "PF-QUORUM",
        LAB,
        {"node": [dict(tomllib.loads(LAB.read_text(encoding="utf-8"))["node"][0])]},
        "warning",
        "survive the loss of 0",
    ),
    ("PF-COROSYNC-LINKS", LAB, {"corosync.links": ["vlan6", "vlan6"]}, "error", "same address"),
    ("PF-COROSYNC-LINKS", LAB, {"corosync.links": ["vlan5", "vlan6"]}, "warning", "one failure domain"),
    ("PF-COROSYNC-LINKS", LAB, {"corosync.links": ["vlan6"]}, "warning", "parts every node"),
    (
        "PF-COROSYNC-LINKS",
        LAB,
        {"corosync.links": ["mgmt", "vlan6"], "corosync.transport": "udpu"},
        "error",
        "encryption",
    ),
    ("PF-COROSYNC-SHARED", PVE1, {"corosync.links": ["vlan6", "ring25g"]}, "warning", "reset themselves"),
    ("PF-HA-FENCE", PVE1, {"ha.fencing": "redfish"}, "error", "calls no BMC"),
    ("PF-HA-POWER", PVE1, {"ha.power_action": "GracefulShutdown"}, "error", "ForceOff"),
    ("PF-HA-RTO", PVE1, {}, "warning", "181 s"),
    ("PF-HA-RTO", PVE1, {"ha.recovery": "1 minute"}, "error", "123 s"),
    ("PF-HA-GROUPS", PVE1, {"ha.groups": True}, "warning", "affinity"),
    ("PF-HA-SOFTDOG", PVE1, {"ha.watchdog_module": "softdog"}, "warning", "nothing resets the node"),
    ("PF-CEPH-REL", PVE1, {"ceph.release": "quincy"}, "error", "squid and tentacle"),
    ("PF-CEPH-REL", PVE1, {"ceph.release": "reef"}, "error", "squid or later"),
    ("PF-CEPH-REL", PVE1, {"ceph.release": "reef", "ceph.repository": "manual"}, "warning", "supports"),
    ("PF-CEPH-CAPACITY", PVE1, {}, "warning", "71.8 TB"),
    ("PF-CEPH-CAPACITY", PVE1, {"ceph.usable": "100TB"}, "error", "end at 92.2 TB"),
    ("PF-CEPH-REBUILD", PVE1, {}, "warning", "without a further host"),
    ("PF-CEPH-REBUILD", PVE1, {"ceph.pools.rbd-vms.size": 4}, "error", "ever becomes clean"),
    ("PF-CEPH-RTO", PVE1, {}, "warning", "2.6 h"),
    ("PF-CEPH-LATENCY", PVE1, {}, "warning", "23 s"),
    ("PF-CEPH-POOLS", PVE1, {}, "warning", "92.5 TB"),
    ("PF-CEPH-POOLS", PVE1, {"ceph.pools.rbd-vms.pg_num": 4096}, "error", "341 placement groups"),
    ("PF-CEPH-POOLS", PVE1, {"ceph.pools.rbd-vms.min_size": 1}, "error", "min_size 1"),
    ("PF-CEPH-POOLS", PVE1, {"ceph.pools.rbd-vms.size": 2}, "warning", "two replicas"),
    ("PF-AWS-ID", LAB, {"aws.credential_source": "instance-profile"}, "error", "no EC2 instances"),
    ("PF-AWS-ID", PVE1, {"aws.credential_source": "env"}, "warning", "does not expire"),
    ("PF-AWS-ID", LAB, {}, "info", "does not expire"),
    ("PF-AWS-TRUST", LAB, {"aws.node_role_trust": ["*"]}, "error", "any AWS account"),
    ("PF-AWS-TRUST", PVE1, {"aws.node_role_trust": ["ssm.amazonaws.com"]}, "error", "add rolesanywhere"),
    ("PF-AWS-TRUST", LAB, {"aws.node_role_trust": ["ec2.amazonaws.com"]}, "warning", "leave it out"),
    ("PF-AWS-KMS", LAB, {"aws.kms_key": "alias/aws/ssm"}, "warning", "customer managed"),
    ("PF-PBS-CIRCULAR", PVE1, {}, "warning", "gone too"),
    ("PF-PBS-S3", PVE1, {"backup.version": "latest"}, "warning", "names no release"),
    ("PF-PBS-S3", PVE1, {"backup.version": "3.4"}, "error", "came with 4.0"),
    ("PF-PBS-S3", PVE1, {"backup.version": "4.1"}, "warning", "preview"),
    ("PF-PBS-LIFECYCLE", PVE1, {"backup.lifecycle_expiration": "30 days"}, "error", "share chunks"),
    ("PF-RETENTION", PVE1, {}, "info", "90 d"),
    ("PF-OMS", PVE1, {"monitoring.log_method": "omsagent"}, "error", "2024-08-31"),
    ("PF-DEFENDER", PVE1, {"monitoring.syslog_to_defender": True}, "warning", "no raw syslog"),
    ("PF-ALERTS", PVE1, {"monitoring.alert_receivers": []}, "warning", "nobody is told"),
    ("PF-WEKA-PROTOCOL", PVE1, {"weka.protocol": "wekafs"}, "warning", "NFS export"),
    ("PF-WEKA-CLIENT", PVE1, {"weka.protocol": "wekafs"}, "warning", "does not list"),
    ("PF-WEKA-CLIENT", PVE1, {"weka.protocol": "wekafs", "weka.mode": "dpdk"}, "error", "neither a bond"),
    ("PF-WEKA-RATE", PVE1, {}, "error", "31.5 GB/s"),
    (
        "PF-WEKA-RATE",
        PVE1,
        {"bond.mode": "active-backup", "bond.switch_lag": "none"},
        "error",
        "carry 25 GB/s",
    ),
    ("PF-WEKA-ROUTE", PVE1, {}, "warning", "hosts' router"),
    (
        "PF-WEKA-ROUTE",
        PVE1,
        {"networks.vlan6": {"id": 6, "subnet": "10.30.0.0/24", "role": "host"}},
        "error",
        "no router",
    ),
    ("PF-AUTH-DUO", PVE1, {"auth.mode": "ad+duo_plugin"}, "error", "no Duo"),
    ("PF-AUTH-DUO", PVE1, {"auth.mode": "ad+duo_proxy"}, "warning", "pushes to a phone"),
]


@pytest.mark.parametrize(
    ("reason_id", "file", "values", "severity", "says"),
    CASES,
    ids=[f"{case[0]}-{case[3]}-{number}" for number, case in enumerate(CASES)],
)
def test_an_order_that_cannot_hold_is_named(
    reason_id: str, file: Path, values: dict[str, Any], severity: str, says: str
) -> None:
    found = [each for each in named(changed(file, values), reason_id) if each.severity == severity]
    assert any(says in str(each) for each in found), [str(each) for each in found]
    for each in found:
        assert each.key and each.order and each.truth and each.instead
        assert "\n" not in str(each)


def test_every_rule_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(IDS)


# A cluster of five that asks for nothing impossible: no rule may find anything in it.
SOUND: dict[str, Any] = {
    "aws.credential_source": "rolesanywhere",
    "aws.node_role_trust": ["rolesanywhere.amazonaws.com"],
    "networks.vlan1.id": 11,
    "networks.weka": {"subnet": "10.40.0.0/24", "role": "storage"},
    "bond.arp_interval": "100ms",
    "bond.arp_targets": ["10.30.0.1"],
    "bond.miimon": "0ms",
    "bond.mode": "active-backup",
    "bond.switch_lag": "none",
    "install.secure_boot": True,
    "gpu": {
        "model": "NVIDIA A100-PCIE-40GB",
        "boards": 1,
        "gpus_per_board": 1,
        "memory_per_gpu": "40GiB",
        "partitioning": "mig",
        "mig_profile": "3g.20gb",
        "mig_instances": 2,
    },
    "hardware.adapter.count": 2,
    "hardware.adapter.ports": 1,
    "hardware.dimms.speed": 4800,
    "ceph.usable": "70TB",
    "ceph.rebuild_after_host_loss": False,
    "ceph.cluster_network": "weka",
    "ceph.pools": {"rbd": {"share": 1.0, "application": "rbd"}},
    "ha.recovery": "4 minutes",
    "backup.server": "external",
    "backup.server_network": "oob",
    "backup.retention_elsewhere": [],
    "backup.drill_interval_elsewhere": [],
    "monitoring.prometheus_network": "oob",
    "weka.network": "weka",
    "weka.throughput": "20 GB/s",
}


def test_a_sound_site_contradicts_nothing() -> None:
    site = changed(PVE1, SOUND, drop=("ceph.osd_recovery", "ceph.latency_p95"))
    found = [str(each) for each in contradictions(site) if each.id not in ("PF-SB", "PF-PLACEHOLDER")]
    assert found == []
    assert [each.severity for each in named(site, "PF-SB")] == ["warning"]


def test_the_lab_has_nothing_that_cannot_hold() -> None:
    found = contradictions(load(LAB))
    assert [str(each) for each in found if each.severity == "error"] == []
    assert {each.id for each in found} == {
        "PF-BOND-SILENT",
        "PF-VLAN1",
        "PF-AWS-ID",
        "PF-RAM",
        "PF-CEPH-REL",
        "PF-COROSYNC-SHARED",
    }


def test_the_ordered_hardware_names_the_famous_ones() -> None:
    found = contradictions(load(PVE1))
    assert [each.id for each in found if each.severity == "error"] == ["PF-PLACEHOLDER", "PF-WEKA-RATE"]
    settled = {
        each.id for each in found if each.severity == "info" and each.instead.startswith("settled here")
    }
    assert settled >= {
        "PF-AWS-ID",
        "PF-AWS-TRUST",
        "PF-AUTH-DUO",
        "PF-BOND",
        "PF-BRIDGE-VIDS",
        "PF-CEPH-REL",
        "PF-COROSYNC-LINKS",
        "PF-HA-FENCE",
        "PF-HA-POWER",
        "PF-MTU",
        "PF-OMS",
        "PF-RAM",
        "PF-REPO",
        "PF-WEKA-CLIENT",
    }
    standing = {each.id for each in found if each.severity == "warning"}
    assert standing >= {"PF-GPU-MIG", "PF-CEPH-CAPACITY", "PF-CEPH-REBUILD", "PF-CEPH-RTO", "PF-PBS-CIRCULAR"}


def test_the_worst_comes_first() -> None:
    order = [each.severity for each in contradictions(load(PVE1))]
    assert order == sorted(order, key=["error", "warning", "info"].index)


def test_a_relaxed_target_is_what_counts() -> None:
    slow = {"relax.host_network_throughput": "1 Gbit/s"}
    assert named(changed(LAB, slow), "PF-THROUGHPUT") == []


def test_every_id_has_its_section() -> None:
    page = (ROOT / "docs" / "contradictions.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (PF-[A-Z0-9-]+):.*\n((?:(?!## ).*\n)*)", page, flags=re.MULTILINE))
    assert list(sections) == sorted(IDS)
    for reason_id, text in sections.items():
        for word in ("**What.**", "**Why.**", "**Instead.**"):
            assert word in text, f"{reason_id} says nothing under {word}"

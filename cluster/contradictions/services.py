"""Backup, logs, Weka, logins: services that were retired, go in circles or do not exist.

Sources: Microsoft's migration notice (Log Analytics agent retired on 31 August 2024), Proxmox Backup Server's
changelog (S3 since 4.0 as a preview, supported from 4.2), docs.weka.io prerequisites, pve-docs pveum.adoc.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING

from cluster.contradictions.network import line_rate
from cluster.contradictions.rule import Found, rule
from cluster.units import format_bytes_rate, format_seconds

if TYPE_CHECKING:
    from cluster.site import Site


@rule("PF-PBS-CIRCULAR")
def circular_backup(site: Site) -> Iterator[Found]:
    """A backup server on the cluster that it backs up (C22)."""
    if site.backup is not None and site.backup.server == "guest":
        yield Found(
            "warning",
            "backup.server",
            "the backup server is a guest of the cluster",
            "with the cluster gone, the tool that restores it is gone too",
            "a server outside; or keys and settings kept elsewhere, and a drill from an empty machine",
        )


@rule("PF-PBS-S3")
def s3_backend(site: Site) -> Iterator[Found]:
    """Backups to S3 by a release or with a cache that cannot (C23)."""
    backup = site.backup
    if backup is None or backup.backend != "s3":
        return
    version = tuple(int(part) for part in re.findall(r"\d+", backup.version)[:2])
    order = f"backups to S3 by Proxmox Backup Server {backup.version}"
    if not version:
        yield Found(
            "warning",
            "backup.version",
            order,
            "that names no release; the S3 backend needs 4.0, and 4.2 to be supported",
            'version = "4.2"',
        )
    elif version < (4, 0):
        yield Found("error", "backup.version", order, "the S3 backend came with 4.0", 'version = "4.2"')
    elif version < (4, 2):
        yield Found(
            "warning", "backup.version", order, "before 4.2 the S3 backend is a preview", 'version = "4.2"'
        )
    if backup.cache is None:
        yield Found(
            "error",
            "backup.cache",
            order,
            "the S3 backend needs a local cache that outlives a restart",
            "a drive of 64 to 128 GiB for it alone",
        )


@rule("PF-PBS-LIFECYCLE")
def lifecycle(site: Site) -> Iterator[Found]:
    """A bucket that deletes chunks by age (C24)."""
    backup = site.backup
    if backup is not None and backup.backend == "s3" and backup.lifecycle_expiration is not None:
        yield Found(
            "error",
            "backup.lifecycle_expiration",
            f"the bucket deletes objects after {format_seconds(backup.lifecycle_expiration)}",
            "backups share chunks, so an old chunk may belong to the newest backup",
            "no expiration; prune and garbage collection of the backup server keep the retention",
        )


@rule("PF-RETENTION")
def retention(site: Site) -> Iterator[Found]:
    """Times that the order states differently in different places (C24)."""
    backup = site.backup
    if backup is None:
        return
    for key, chosen, elsewhere in (
        ("backup.retention", backup.retention, backup.retention_elsewhere),
        ("backup.drill_interval", backup.drill_interval, backup.drill_interval_elsewhere),
    ):
        others = [format_seconds(other) for other in elsewhere if other != chosen]
        if others:
            yield Found(
                "info",
                key,
                f"{format_seconds(chosen)}, elsewhere {' and '.join(others)}",
                "only one of them can be configured",
                f"{format_seconds(chosen)} is what this file uses",
            )


@rule("PF-OMS")
def log_agent(site: Site) -> Iterator[Found]:
    """A log agent that was retired (C16)."""
    if site.monitoring is not None and site.monitoring.log_method == "omsagent":
        yield Found(
            "error",
            "monitoring.log_method",
            "logs by the Log Analytics agent (OMS)",
            "it was retired on 2024-08-31 and its ingestion is being switched off",
            '"ama" (Azure Arc and Azure Monitor Agent) or "syslog_tls" to a forwarder',
        )


@rule("PF-DEFENDER")
def defender(site: Site) -> Iterator[Found]:
    """Raw syslog to a product that takes none (C17)."""
    if site.monitoring is not None and site.monitoring.syslog_to_defender:
        yield Found(
            "warning",
            "monitoring.syslog_to_defender",
            "syslog to Defender XDR",
            "Defender XDR takes no raw syslog",
            "a Log Analytics workspace with Sentinel, read from Defender",
        )


@rule("PF-ALERTS")
def receivers(site: Site) -> Iterator[Found]:
    """Alerts that nobody gets (C46, F-8.4)."""
    if site.monitoring is not None and not site.monitoring.alert_receivers:
        yield Found(
            "warning",
            "monitoring.alert_receivers",
            "alerts by mail and SMS",
            "no receiver and no provider is named, so nobody is told",
            "name at least one receiver",
        )


@rule("PF-WEKA-PROTOCOL")
def weka_protocol(site: Site) -> Iterator[Found]:
    """Two products under one name (C33)."""
    weka = site.weka
    if weka is not None and weka.protocol == "wekafs" and ":/" in weka.export:
        yield Found(
            "warning",
            "weka.protocol",
            f"the native Weka client on {weka.export}",
            "that is an NFS export; the native client mounts backend/file-system",
            'protocol = "nfs"',
        )


@rule("PF-WEKA-CLIENT")
def weka_client(site: Site) -> Iterator[Found]:
    """The native client on this system and wiring (C34)."""
    weka = site.weka
    if weka is None or weka.protocol != "wekafs":
        return
    yield Found(
        "warning",
        "weka.protocol",
        f"the native Weka client on Proxmox VE {site.install.release}",
        "the vendor does not list Proxmox VE 9 (Debian 13), and the client may claim the watchdog",
        "the vendor's word in writing, or NFS",
    )
    if weka.mode == "dpdk":
        yield Found(
            "error",
            "weka.mode",
            f"the Weka client by DPDK on {site.bond.name}",
            "on a ConnectX-6 it supports neither a bond nor a VLAN on it",
            'mode = "udp", or a port of its own',
        )


@rule("PF-WEKA-RATE")
def weka_rate(site: Site) -> Iterator[Found]:
    """A throughput above line rate (C35)."""
    weka = site.weka
    if weka is None or weka.throughput is None or not site.nodes:
        return
    possible = min(line_rate(site, node) for node in site.nodes)
    if weka.throughput > possible:
        yield Found(
            "error",
            "weka.throughput",
            f"{format_bytes_rate(weka.throughput / 8)} from Weka to a node",
            f"a node's links carry {possible / 8e9:.3g} GB/s at line rate (200 Gbit/s are 25 GB/s)",
            "a target for all nodes together, or below line rate",
        )


@rule("PF-WEKA-ROUTE")
def weka_route(site: Site) -> Iterator[Found]:
    """A filer in a network that nothing leads to (C33, F-10.2)."""
    weka = site.weka
    if weka is None:
        return
    try:
        server = IPv4Address(re.split(r"[:/]", weka.export)[0])
    except AddressValueError:
        return
    known = any(server in network.subnet for network in site.networks.values())
    if not known and weka.network is None and site.host_network.gateway is None:
        yield Found(
            "error",
            "weka.export",
            f"a file system at {server}",
            "no network contains it and no router is named",
            "weka.network, or a gateway on the hosts' network",
        )
    elif not known and weka.network is None:
        yield Found(
            "warning",
            "weka.export",
            f"a file system at {server}",
            "no network of this site contains it, so everything goes through the hosts' router",
            'a network with role = "storage", named in weka.network',
        )


@rule("PF-AUTH-DUO")
def duo(site: Site) -> Iterator[Found]:
    """A second factor that Proxmox VE does not know (C36)."""
    if site.auth is None:
        return
    if site.auth.mode == "ad+duo_plugin":
        yield Found(
            "error",
            "auth.mode",
            "Duo as second factor of Proxmox VE",
            "it has TOTP, WebAuthn, Yubico and recovery keys, and no Duo",
            '"oidc_duo" (Duo single sign-on), "ad+duo_proxy", or "ad+totp"',
        )
    if site.auth.mode == "ad+duo_proxy":
        yield Found(
            "warning",
            "auth.mode",
            "LDAP with a one-time password by the Duo proxy",
            "the proxy pushes to a phone; a code is typed behind the password, and every search of the"
            " directory may push too",
            'exempt the service account, LDAP timeouts above 60 s, or "oidc_duo"',
        )

"""`pveceph init`: the cluster's ceph.conf."""

from __future__ import annotations

import ipaddress
import uuid
from dataclasses import dataclass

from ..http.errors import ParameterError
from ..http.machine import Machine
from . import conf, units


@dataclass(frozen=True)
class Order:
    """What `init` is asked for; networks in CIDR."""

    network: str | None = None
    cluster_network: str | None = None
    size: int = 3
    min_size: int = 2
    pg_bits: int | None = None
    cephx: bool = True


def initialise(machine: Machine, order: Order) -> None:
    """Write ceph.conf. Asked again it keeps fsid, authentication and sizes and sets the networks anew."""
    for name, value in (("network", order.network), ("cluster-network", order.cluster_network)):
        if value is not None:
            _verify(name, value)
    units.require(machine, "ceph_bin")
    with conf.locked(machine):
        found = conf.load(machine)
        if "global" not in found:
            auth = "cephx" if order.cephx else "none"
            found["global"] = {
                "fsid": str(uuid.uuid4()),
                "auth_cluster_required": auth,
                "auth_service_required": auth,
                "auth_client_required": auth,
                "osd_pool_default_size": str(order.size),
                "osd_pool_default_min_size": str(order.min_size),
                "mon_allow_pool_delete": "true",
            }
            if order.pg_bits:
                found["global"] |= {"osd_pg_bits": str(order.pg_bits), "osd_pgp_bits": str(order.pg_bits)}
        if found["global"].get("auth_client_required") == "cephx":
            found["client"] = {**found.get("client", {}), "keyring": "/etc/pve/priv/$cluster.$name.keyring"}
        if order.network:
            found["global"]["public_network"] = order.network
            found["global"]["cluster_network"] = order.cluster_network or order.network
        conf.save(machine, found)
    units.link_configuration(machine)


def _verify(name: str, value: str) -> None:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        text = f"invalid format - value does not look like a valid CIDR network\n: {value}".replace("\n", "")
        raise ParameterError({name: text}) from error
    if "/" not in value:
        raise ParameterError({name: "invalid format - value does not look like a valid CIDR network"})

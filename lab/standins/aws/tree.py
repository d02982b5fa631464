"""The parameter tree that an operator fills before a deployment, with values that fit the rack. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lab.rack import Rack

ROOT = "/pve1"
OUTSIDE = "/other/secret"
"""A parameter of somebody else in the same account: nobody of this cluster may read it."""


@dataclass(frozen=True)
class Parameter:
    """One parameter; `kind` is String or SecureString (under the customer key)."""

    name: str
    kind: str
    value: str


def string(name: str, value: str) -> Parameter:
    """A plain parameter below ROOT."""
    return Parameter(f"{ROOT}/{name}", "String", value)


def secure(name: str, value: str) -> Parameter:
    """A secret below ROOT."""
    return Parameter(f"{ROOT}/{name}", "SecureString", value)


SECRETS = (
    "cluster/corosync_key",
    "ceph/mon_secret",
    "authentication/ad/bind_password",
    "authentication/duo/integration_key",
    "authentication/duo/secret_key",
    "backup/s3_access_key",
    "backup/s3_secret_key",
    "monitoring/defender_xdr/tenant_id",
    "monitoring/defender_xdr/client_id",
    "monitoring/defender_xdr/client_secret",
    "monitoring/defender_xdr/workspace_id",
    "monitoring/defender_xdr/workspace_key",
    "monitoring/grafana/admin_password",
    "weka/password",
    "ssh_keys/ansible/private_key",
    "ssh_keys/admin/private_key",
)
"""Secrets of the whole cluster; `secrets_needed` adds those of nodes and switches."""


def secrets_needed(rack: Rack) -> list[str]:
    """Names below ROOT for which `parameters` wants a value."""
    nodes = [
        f"nodes/{server.name}/{leaf}"
        for server in rack.server
        for leaf in ("ipmi_password", "root_password", "root_password_hash")
    ]
    return [*SECRETS, *nodes, *(f"switches/{switch.name}/password" for switch in rack.switch)]


def parameters(rack: Rack, secrets: Mapping[str, str], public: Mapping[str, str]) -> list[Parameter]:
    """Everything that is seeded. `secrets` and `public` (SSH keys) map names below ROOT to values.

    Raises KeyError when one of `secrets_needed` or of the public keys is missing.
    """
    return [
        *_network(rack),
        *_nodes(rack),
        *_switches(rack, public),
        *_site(rack),
        *(
            string(f"ssh_keys/{who}/public_key", public[f"ssh_keys/{who}/public_key"])
            for who in ("ansible", "admin")
        ),
        *(secure(name, secrets[name]) for name in secrets_needed(rack)),
        Parameter(OUTSIDE, "SecureString", "not yours"),
    ]


def _network(rack: Rack) -> Iterator[Parameter]:
    for name, vlan in rack.vlans.items():
        yield string(f"network/{name}/subnet", vlan.subnet)
        yield string(f"network/{name}/gateway", vlan.controller)
    yield string("network/dns_servers", rack.services.dns)
    yield string("network/ntp_servers", rack.services.ntp)
    yield string("network/domain", rack.domain)


def _nodes(rack: Rack) -> Iterator[Parameter]:
    for server in rack.server:
        yield string(f"nodes/{server.name}/hostname", server.name)
        yield string(f"nodes/{server.name}/vlan6_ip", server.address)
        yield string(f"nodes/{server.name}/ipmi_ip", server.bmc)
        # A user name is no secret; the plan stores it as String.
        yield string(f"nodes/{server.name}/ipmi_user", rack.oob.bmc_user)


def _switches(rack: Rack, public: Mapping[str, str]) -> Iterator[Parameter]:
    for switch in rack.switch:
        yield string(f"switches/{switch.name}/user", SWITCH_USER)
        yield string(f"switches/{switch.name}/host_key", public[f"switches/{switch.name}/host_key"])


SWITCH_USER = "rackproof"


def _site(rack: Rack) -> Iterator[Parameter]:
    """What later phases read. Directory, Weka and monitoring do not stand in the rack yet."""
    labels = rack.domain.split(".")
    yield string("cluster/name", "pve1")
    yield string("authentication/ad/domain", f"corp.{rack.domain}")
    yield string("authentication/ad/base_dn", ",".join(f"dc={label}" for label in ["corp", *labels]))
    yield string("authentication/ad/bind_user", f"ansible@corp.{rack.domain}")
    yield string("authentication/duo/api_hostname", "api-00000000.duosecurity.com")
    yield string("backup/s3_endpoint", f"https://{rack.oob.aws}:5566")
    yield string("backup/s3_bucket", "pve1-backups")
    yield string("monitoring/prometheus/retention", "30d")
    yield string("weka/mount_path", "/mnt/weka")
    yield string("weka/export_path", f"{rack.oob.controller}:/pve1")
    yield string("weka/protocol", "nfs")
    yield string("weka/mount_options", "vers=4.2,hard,timeo=600")
    yield string("weka/username", "pve1")

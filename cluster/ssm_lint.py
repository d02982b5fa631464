"""What is wrong with the parameter tree: a missing key, a secret in the open, a bad address.

Pure: `lint` gets the parameters as they were read (decrypted) and reads nothing itself. No message ever holds
the value of a secret. Limits are Parameter Store's own: names of `a-zA-Z0-9_.-/` in 15 levels, values of
4096 bytes (standard tier) or 8192 bytes (advanced).
"""

from __future__ import annotations

import base64
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Literal, Protocol

from cluster.key_format import password_hash_mistake, private_key_mistake, public_key_mistake

if TYPE_CHECKING:
    from cluster.site import Site
    from cluster.site_models import NodeSpec

Kind = Literal["missing", "plain secret", "address", "form", "advice"]

_NAME = re.compile(r"(/[A-Za-z0-9_.-]+){1,15}")
_SECRET_LEAF = re.compile(
    r"(pass(word|wd|phrase)?|secret|token|credentials?|private_key|(?<!public)(?<!host)_key|mon_secret|hash"
    r"|corosync_conf)$"
)
_STANDARD, _ADVANCED = 4096, 8192
_AWS_KEY = "alias/aws/ssm"


class ParameterLike(Protocol):
    """What is read of a parameter; `cluster.aws.Parameter` is one."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def key_id(self) -> str | None: ...


Parameters = Mapping[str, ParameterLike]


@dataclass(frozen=True)
class Finding:
    """One thing wrong with one parameter, as a sentence that shows no secret."""

    kind: Kind
    name: str
    expected: str

    def __str__(self) -> str:
        return f"{self.name}: {self.expected}"


def secret(name: str) -> bool:
    """Whether a parameter of this name holds a secret, by its last level."""
    return _SECRET_LEAF.search(name.rsplit("/", 1)[-1]) is not None


def required(site: Site) -> tuple[str, ...]:
    """Names that must exist before phase 1: what the plan's operator seeds, and what the site refers to."""
    root, host = site.aws.root, _host_name(site)
    names = [f"{root}/cluster/name", f"{root}/network/domain"]
    names += [f"{root}/network/dns_servers", f"{root}/network/ntp_servers"]
    for name, network in site.networks.items():
        if network.role in ("host", "guest"):
            names.append(f"{root}/network/{name}/subnet")
            if network.gateway is not None:
                names.append(f"{root}/network/{name}/gateway")
    for node in site.nodes:
        names += [f"{folder(node)}/{leaf}" for leaf in ("hostname", f"{host}_ip", "ipmi_ip")]
    names += [name for _, name in site.ssm_references()]
    return tuple(dict.fromkeys(names))


def folder(node: NodeSpec) -> str:
    """Where a node's parameters lie: the folder of its BMC's password, such as `/pve1/nodes/node1`."""
    return node.bmc.password.removeprefix("ssm:").replace("{node}", node.name).rsplit("/", 1)[0]


def lint(site: Site, parameters: Parameters) -> list[Finding]:
    """Everything in the tree that must be put right; empty when it is sound."""
    return [finding for check in _CHECKS for finding in check(site, parameters)]


def advise(site: Site, parameters: Parameters) -> list[Finding]:
    """What works and is unwise."""
    found = []
    admin = f"{site.aws.root}/ssh_keys/admin/private_key"
    if admin in parameters:
        found.append(
            Finding("advice", admin, "a person's private key belongs to that person, not where nodes read")
        )
    for name, parameter in sorted(parameters.items()):
        if parameter.type == "SecureString" and parameter.key_id in (_AWS_KEY, f"{_AWS_KEY}/"):
            found.append(Finding("advice", name, f"encrypted under {_AWS_KEY}; expected {site.aws.kms_key}"))
        if _STANDARD < len(parameter.value.encode()) <= _ADVANCED:
            found.append(
                Finding("advice", name, f"longer than {_STANDARD} bytes, so it needs the advanced tier")
            )
    return found


def _host_name(site: Site) -> str:
    return next(name for name, network in site.networks.items() if network.role == "host")


def _missing(site: Site, parameters: Parameters) -> Iterator[Finding]:
    wanted = required(site)
    spare = [name for name in parameters if name not in wanted]
    for name in wanted:
        if name not in parameters:
            near = difflib.get_close_matches(name, spare, n=1, cutoff=0.85)
            hint = f"; there is {near[0]}" if near else ""
            yield Finding("missing", name, f"expected a parameter of this name{hint}")


def _form(site: Site, parameters: Parameters) -> Iterator[Finding]:
    for name, parameter in sorted(parameters.items()):
        if _NAME.fullmatch(name) is None:
            yield Finding(
                "form", name, "expected a name of letters, digits, '_', '.', '-' in at most 15 levels"
            )
        if not name.startswith(site.aws.root + "/"):
            yield Finding("form", name, f"expected a name below {site.aws.root}/")
        size = len(parameter.value.encode())
        if getattr(parameter, "unreadable", ""):
            yield Finding("form", name, "expected a value that this operator may read; its key refuses")
        elif not parameter.value.strip():
            yield Finding("form", name, "expected a value; it is empty")
        elif size > _ADVANCED:
            yield Finding("form", name, f"expected at most {_ADVANCED} bytes, found {size}")
        elif parameter.value != parameter.value.strip() and not name.endswith("private_key"):
            yield Finding("form", name, "expected a value without spaces or line ends around it")
        elif parameter.value in ("FAILED", "None", "null", "CHANGEME", "TODO"):
            yield Finding(
                "form", name, "expected a value; what is there reads like a failed attempt to set one"
            )


def _secrets(_site: Site, parameters: Parameters) -> Iterator[Finding]:
    for name, parameter in sorted(parameters.items()):
        if secret(name) and parameter.type != "SecureString":
            yield Finding(
                "plain secret",
                name,
                f"expected a SecureString; it is a {parameter.type} that is not encrypted",
            )


def _keys(site: Site, parameters: Parameters) -> Iterator[Finding]:
    def value(reference: str) -> tuple[str, str | None]:
        name = reference.removeprefix("ssm:")
        return name, parameters[name].value if name in parameters else None

    public_name, public = value(site.ssh.public_key)
    private_name, private = value(site.ssh.private_key)
    admin_name, admin = value(site.ssh.admin_public_key)
    found: list[tuple[str, str | None]] = [
        (public_name, public_key_mistake(public, "ed25519") if public else None),
        (private_name, private_key_mistake(private, public) if private else None),
        (admin_name, public_key_mistake(admin, "rsa4096") if admin else None),
    ]
    for switch in site.switches:
        name, text = value(switch.host_key)
        found.append((name, public_key_mistake(text) if text else None))
    for key, name in site.ssm_references():
        if key == "install.root_password_hash" and name in parameters:
            found.append((name, password_hash_mistake(parameters[name].value)))
    for name, mistake in dict(found).items():
        if mistake:
            yield Finding("form", name, mistake)


def _values(site: Site) -> Iterator[tuple[str, str, str]]:
    """(name, what the site orders, kind of value) of every parameter that the site file states too."""
    root, host = site.aws.root, _host_name(site)
    yield f"{root}/cluster/name", site.cluster, "text"
    yield f"{root}/network/domain", site.domain, "text"
    yield f"{root}/network/dns_servers", ",".join(map(str, site.dns)), "list"
    yield f"{root}/network/ntp_servers", ",".join(site.ntp), "list"
    for name, network in site.networks.items():
        if network.role in ("host", "guest"):
            yield f"{root}/network/{name}/subnet", str(network.subnet), "subnet"
            if network.gateway is not None:
                yield f"{root}/network/{name}/gateway", str(network.gateway), "address"
    for node in site.nodes:
        yield f"{folder(node)}/hostname", node.name, "text"
        yield f"{folder(node)}/{host}_ip", str(node.address), "address"
        yield f"{folder(node)}/ipmi_ip", str(node.bmc.address), "address"


def _same(kind: str, found: str, ordered: str) -> str | None:
    """What was expected where the value found is malformed or another one."""
    try:
        if kind == "subnet":
            if "/" not in found:
                return f"expected a subnet with its prefix length, {ordered}"
            IPv4Network(found)
        elif kind == "address":
            IPv4Address(found)
    except ValueError:
        return f"expected an IPv4 {kind}, {ordered}, found '{found[:40]}'"
    if kind == "list":
        same = [part.strip() for part in found.split(",")] == ordered.split(",")
    else:
        same = found == ordered
    return None if same else f"expected {ordered} as the site orders, found '{found[:40]}'"


def _coded(site: Site, parameters: Parameters) -> Iterator[Finding]:
    """The cluster's key and configuration: base64, and a configuration that is one of this cluster."""
    for leaf in ("corosync_key", "corosync_conf"):
        name = f"{site.aws.root}/cluster/{leaf}"
        if name not in parameters:
            continue
        try:
            body = base64.b64decode(parameters[name].value, validate=True)
        except ValueError:
            yield Finding("form", name, "expected base64")
            continue
        if leaf == "corosync_conf" and f"cluster_name: {site.cluster}".encode() not in body:
            yield Finding("form", name, f"expected the configuration of the cluster {site.cluster}")


def _addresses(site: Site, parameters: Parameters) -> Iterator[Finding]:
    for name, ordered, kind in _values(site):
        mistake = _same(kind, parameters[name].value, ordered) if name in parameters else None
        if mistake:
            yield Finding("form" if kind == "text" else "address", name, mistake)


def _duplicates(_site: Site, parameters: Parameters) -> Iterator[Finding]:
    """An address twice, or subnets that overlap, anywhere in the tree: also where the site says nothing."""
    seen: dict[str, str] = {}
    subnets: dict[str, IPv4Network] = {}
    for name, parameter in sorted(parameters.items()):
        leaf = name.rsplit("/", 1)[-1]
        if leaf.endswith("_ip"):
            if parameter.value in seen:
                yield Finding(
                    "address", name, f"expected an address of its own; {seen[parameter.value]} has it"
                )
            seen.setdefault(parameter.value, name)
        if leaf == "subnet":
            try:
                subnet = IPv4Network(parameter.value)
            except ValueError:
                continue  # said above where the site orders it; else by `_stray_subnets`
            for other, known in subnets.items():
                if subnet.overlaps(known):
                    yield Finding(
                        "address", name, f"expected a subnet that overlaps no other; {other} is {known}"
                    )
            subnets[name] = subnet


def _stray_subnets(site: Site, parameters: Parameters) -> Iterator[Finding]:
    known = {name for name, _, _ in _values(site)}
    for name, parameter in sorted(parameters.items()):
        if name.endswith("/subnet") and name not in known:
            try:
                IPv4Network(parameter.value)
            except ValueError:
                yield Finding("address", name, f"expected an IPv4 subnet, found '{parameter.value[:40]}'")


_CHECKS: tuple[Callable[[Site, Parameters], Iterator[Finding]], ...] = (
    _missing,
    _form,
    _secrets,
    _addresses,
    _duplicates,
    _stray_subnets,
    _keys,
    _coded,
)

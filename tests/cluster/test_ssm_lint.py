"""The parameter tree: a sound one passes, each thing wrong alone is found, and no message holds a secret."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cluster.key_format import password_hash_mistake, private_key_mistake, public_key_mistake
from cluster.site import ROOT, Site, load
from cluster.ssm_lint import advise, folder, lint, required, secret

CANARY = "canary-4711"
HASH = "$6$" + "a" * 16 + "$" + "b" * 86


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str
    value: str
    key_id: str | None = "alias/pve1"


Tree = dict[str, Parameter]
SITE: Site = load(ROOT / "sites" / "lab.toml")


@cache
def ed25519(number: int) -> tuple[str, str]:
    """(private, public) OpenSSH key pair, another one for each number."""
    key = Ed25519PrivateKey.generate()
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
        key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + f" key{number}",
    )


@cache
def rsa(bits: int) -> str:
    public = generate_private_key(65537, bits).public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@cache
def _sound() -> tuple[Parameter, ...]:
    values = {
        "cluster/name": "pve1",
        "network/domain": "rack.example",
        "network/dns_servers": "10.6.0.1",
        "network/ntp_servers": "10.6.0.1",
        "network/vlan6/gateway": "10.6.0.1",
        "ssh_keys/ansible/private_key": ed25519(1)[0],
        "ssh_keys/ansible/public_key": ed25519(1)[1],
        "ssh_keys/admin/public_key": rsa(4096),
    }
    values |= {f"network/vlan{n}/subnet": f"10.{n}.0.0/24" for n in range(1, 7)}
    for n in (1, 2, 3):
        values |= {
            f"nodes/node{n}/hostname": f"node{n}",
            f"nodes/node{n}/vlan6_ip": f"10.6.0.1{n}",
            f"nodes/node{n}/ipmi_ip": f"10.9.0.1{n}",
            f"nodes/node{n}/ipmi_user": "admin",
            f"nodes/node{n}/ipmi_password": CANARY,
            f"nodes/node{n}/root_password": CANARY,
            f"nodes/node{n}/root_password_hash": HASH,
        }
    for n in (1, 2):
        values |= {
            f"switches/sw{n}/user": "rackproof",
            f"switches/sw{n}/password": CANARY,
            f"switches/sw{n}/host_key": ed25519(1 + n)[1],
        }
    return tuple(
        Parameter(f"/pve1/{name}", "SecureString" if secret(name) else "String", value)
        for name, value in values.items()
    )


def sound() -> Tree:
    return {parameter.name: parameter for parameter in _sound()}


def test_a_sound_tree_has_no_findings() -> None:
    assert [str(finding) for finding in lint(SITE, sound())] == []
    assert advise(SITE, sound()) == []


def test_exactly_the_required_names_make_a_sound_tree() -> None:
    assert sorted(required(SITE)) == sorted(sound())
    assert folder(SITE.nodes[1]) == "/pve1/nodes/node2"


@pytest.mark.parametrize("name", sorted(sound()))
def test_each_key_is_missed_alone(name: str) -> None:
    tree = sound()
    del tree[name]
    assert [(f.kind, f.name) for f in lint(SITE, tree)] == [("missing", name)]


@pytest.mark.parametrize("name", sorted(name for name, p in sound().items() if p.type == "SecureString"))
def test_each_secret_is_missed_as_a_plain_string_alone(name: str) -> None:
    tree = sound()
    tree[name] = replace(tree[name], type="String")
    assert [(f.kind, f.name) for f in lint(SITE, tree)] == [("plain secret", name)]


def put(name: str, value: str, kind: str = "String") -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        known = tree.get(f"/pve1/{name}")
        tree[f"/pve1/{name}"] = Parameter(f"/pve1/{name}", known.type if known else kind, value)

    return change


CASES: list[tuple[str, Callable[[Tree], None], str, str]] = [
    (
        "bad prefix",
        put("network/vlan6/subnet", "10.6.0.0/33"),
        "address",
        "expected an IPv4 subnet, 10.6.0.0/24",
    ),
    ("host bits", put("network/vlan6/subnet", "10.6.0.1/24"), "address", "found '10.6.0.1/24'"),
    ("no prefix", put("network/vlan5/subnet", "10.5.0.0"), "address", "with its prefix length"),
    (
        "other subnet",
        put("network/vlan5/subnet", "10.55.0.0/24"),
        "address",
        "expected 10.5.0.0/24 as the site orders",
    ),
    (
        "overlap",
        put("network/vlan9/subnet", "10.6.0.128/25"),
        "address",
        "overlaps no other; /pve1/network/vlan6/subnet",
    ),
    ("stray subnet", put("network/vlan9/subnet", "ten"), "address", "found 'ten'"),
    ("bad address", put("nodes/node2/vlan6_ip", "10.6.0.256"), "address", "expected an IPv4 address"),
    ("other address", put("nodes/node2/vlan6_ip", "10.6.0.22"), "address", "expected 10.6.0.12"),
    ("twice", put("nodes/node2/vlan6_ip", "10.6.0.11"), "address", "/pve1/nodes/node1/vlan6_ip has it"),
    ("twice where the site is silent", put("nodes/node9/ipmi_ip", "10.9.0.11"), "address", "has it"),
    ("gateway", put("network/vlan6/gateway", "10.6.0.254"), "address", "expected 10.6.0.1"),
    ("spaces for commas", put("network/dns_servers", "10.6.0.1 10.6.0.2"), "address", "expected 10.6.0.1"),
    ("another host name", put("nodes/node3/hostname", "node2"), "form", "expected node3"),
    ("another cluster", put("cluster/name", "pve2"), "form", "expected pve1"),
    ("line end", put("cluster/name", "pve1\n"), "form", "without spaces or line ends"),
    ("empty", put("nodes/node1/ipmi_user", " "), "form", "it is empty"),
    ("failed lookup", put("nodes/node1/ipmi_user", "FAILED"), "form", "failed attempt"),
    ("notation in a name", put("nodes/node{1..3}/x", "y"), "form", "letters, digits"),
    ("too deep", put("/".join("abcdefghijklmno"), "y"), "form", "15 levels"),
    ("too long", put("cluster/corosync_conf", "x" * 8193), "form", "at most 8192 bytes, found 8193"),
    ("no public key", put("ssh_keys/ansible/public_key", "FAILED-TO-READ"), "form", "OpenSSH public key"),
    ("wrong kind of key", put("ssh_keys/admin/public_key", ed25519(7)[1]), "form", "RSA key of 4096 bits"),
    ("short key", put("ssh_keys/admin/public_key", rsa(2048)), "form", "RSA key of 4096 bits"),
    (
        "key of others",
        put("ssh_keys/ansible/private_key", ed25519(8)[0]),
        "form",
        "belongs to the public key",
    ),
    ("no private key", put("ssh_keys/ansible/private_key", CANARY), "form", "OpenSSH private key"),
    ("switch key", put("switches/sw1/host_key", "sw1"), "form", "OpenSSH public key"),
    ("password for its hash", put("nodes/node1/root_password_hash", CANARY), "form", "never a password"),
    ("key in no base64", put("cluster/corosync_key", CANARY, "SecureString"), "form", "expected base64"),
    (
        "configuration of others",
        put("cluster/corosync_conf", base64.b64encode(b"cluster_name: pve2").decode(), "SecureString"),
        "form",
        "expected the configuration of the cluster pve1",
    ),
    ("configuration in the open", put("cluster/corosync_conf", CANARY), "plain secret", "expected a Secure"),
    ("plain token", put("monitoring/api_token", CANARY), "plain secret", "expected a SecureString"),
]


@pytest.mark.parametrize(
    ("change", "kind", "says"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_each_mistake_is_found_and_shows_no_secret(
    change: Callable[[Tree], None], kind: str, says: str
) -> None:
    tree = sound()
    change(tree)
    found = lint(SITE, tree)
    assert any(finding.kind == kind and says in str(finding) for finding in found), [str(f) for f in found]
    assert not any(CANARY in str(finding) or "PRIVATE KEY" in str(finding) for finding in found)


def test_a_parameter_of_somebody_else_is_named() -> None:
    tree = sound()
    tree["/other/name"] = Parameter("/other/name", "String", "x")
    assert [str(f) for f in lint(SITE, tree)] == ["/other/name: expected a name below /pve1/"]


def test_a_misspelt_key_is_suggested() -> None:
    tree = sound()
    parameter = tree.pop("/pve1/nodes/node2/ipmi_password")
    tree["/pve1/nodes/node2/ipmi_pasword"] = replace(parameter, name="/pve1/nodes/node2/ipmi_pasword")
    assert "there is /pve1/nodes/node2/ipmi_pasword" in str(lint(SITE, tree)[0])


def test_advice_is_no_finding() -> None:
    tree = sound()
    tree["/pve1/ssh_keys/admin/private_key"] = Parameter(
        "/pve1/ssh_keys/admin/private_key", "SecureString", CANARY
    )
    name = "/pve1/nodes/node1/ipmi_password"
    tree[name] = replace(tree[name], key_id="alias/aws/ssm")
    tree["/pve1/cluster/notes"] = Parameter("/pve1/cluster/notes", "String", "x" * 5000)
    assert lint(SITE, tree) == []
    assert [f.name.rsplit("/", 1)[-1] for f in advise(SITE, tree)] == [
        "private_key",
        "notes",
        "ipmi_password",
    ]


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("nodes/node1/ipmi_password", True),
        ("cluster/corosync_key", True),
        ("cluster/corosync_conf", True),
        ("cluster/cluster_id", False),
        ("cluster/pmgnt_key", True),
        ("ceph/mon_secret", True),
        ("ceph/admin_key", True),
        ("backup/s3_access_key", True),
        ("authentication/duo/integration_key", True),
        ("ssh_keys/ansible/private_key", True),
        ("nodes/node1/root_password_hash", True),
        ("monitoring/defender_xdr/client_secret", True),
        ("ssh_keys/ansible/public_key", False),
        ("switches/sw1/host_key", False),
        ("nodes/node1/ipmi_user", False),
        ("backup/s3_bucket", False),
        ("ceph/fsid", False),
    ],
)
def test_a_secret_is_known_by_its_name(name: str, is_secret: bool) -> None:
    assert secret(f"/pve1/{name}") is is_secret


def test_the_ordered_hardware_asks_for_the_plans_own_names() -> None:
    names = required(load(ROOT / "sites" / "pve1.toml"))
    assert {
        "/pve1/nodes/node1/hostname",
        "/pve1/nodes/node3/vlan6_ip",
        "/pve1/nodes/node2/ipmi_password",
    } <= set(names)


def test_keys_are_told_from_other_texts() -> None:
    private, public = ed25519(1)
    assert public_key_mistake(public, "ed25519") is None
    assert public_key_mistake(rsa(4096), "rsa4096") is None
    assert private_key_mistake(private, public) is None
    assert private_key_mistake(private) is None
    assert private_key_mistake(public) is not None
    for good in (HASH, "$y$j9T$" + "a" * 22 + "$" + "b" * 43, "$2b$12$" + "c" * 53):
        assert password_hash_mistake(good) is None
    for bad in ("password", "$1$short", "", "$6$:x"):
        assert password_hash_mistake(bad) is not None

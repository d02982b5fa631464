"""The scenarios that must catch defects, `feature::scenario`, titles as in features/; only here."""

from __future__ import annotations

_PREFLIGHT = "Preflight: what was ordered has arrived and can be reached"
_BASE = "Base installation: every server becomes a node"
_NETWORK = "Network: two links behave as one, and guests stay out of the host network"
_DRILLS = "A link fails and nobody notices"

CREDENTIALS = f"{_PREFLIGHT}::Every management controller answers to the stored credentials"
IDENTITY = f"{_PREFLIGHT}::Every management controller is the one it claims to be"
BMC_CLOCK = f"{_PREFLIGHT}::The management controllers keep time and a log"
SERVERS = f"{_PREFLIGHT}::The servers are as ordered"
SWITCH_PORTS = f"{_PREFLIGHT}::The switch ports are as ordered"
TREE = f"{_PREFLIGHT}::The parameter tree is complete and well formed"
MEDIUM = f"{_PREFLIGHT}::The installer medium is genuine"

NAME = f"{_BASE}::Every node answers under its own name and address"
MIRROR = f"{_BASE}::The system stands on two healthy drives"
DRIVES = f"{_BASE}::The drives are those that were ordered"
NAMES_AND_TIME = f"{_BASE}::Names resolve and clocks agree"
PASSWORDS = f"{_BASE}::Nobody enters with a password"

BOND = f"{_NETWORK}::Both links form one bond"
FULL_SIZE = f"{_NETWORK}::Full-size packets pass between all nodes unfragmented"
HOST_NETWORK = f"{_NETWORK}::The host network stands directly on the bond"
ONE_OWNER = f"{_NETWORK}::Every address belongs to one node only"
RESOLUTION = f"{_NETWORK}::Names resolve on every node"


def loses_link(node: str) -> str:
    """The drill that moves all traffic of a node to its other link; `node1` as in the rack file."""
    return f"{_DRILLS}::{node[:-1]} {node[-1]} loses its active link"


_CLUSTER = "Cluster: the nodes decide together, and no cable parts them"
_STORAGE = "Storage: Ceph keeps every block on three nodes"

VOTES = f"{_CLUSTER}::Every node is a member and votes"
STRANGERS = f"{_CLUSTER}::Nobody else is a member"
SAME = f"{_CLUSTER}::Every node sees the same"
TWO_NETWORKS = f"{_CLUSTER}::Two networks join every pair of nodes"
RING_CLOCKS = f"{_CLUSTER}::Clocks are in step"
ROUND_TRIP = f"{_CLUSTER}::The nodes are close to each other"
KEPT = f"{_CLUSTER}::What would form the cluster anew is kept in the parameter store"

OSDS = f"{_STORAGE}::Every ordered drive serves"
SPREAD = f"{_STORAGE}::The storage daemons are spread evenly"
CLEAN = f"{_STORAGE}::All data is whole"
HEALTH = f"{_STORAGE}::The storage cluster is healthy and nothing is hushed up"
DAEMONS = f"{_STORAGE}::Monitors, managers and metadata servers have their stand-ins"
POOLS = f"{_STORAGE}::Pools are as ordered"
CAPACITY = f"{_STORAGE}::The capacity is what the arithmetic says"
HEADROOM = f"{_STORAGE}::There is room to lose a node"
KEYS = f"{_STORAGE}::Nobody reads or writes without a key"
ENTRIES = f"{_STORAGE}::Proxmox knows the storage"
MON_CLOCKS = f"{_STORAGE}::Clocks agree as closely as monitors need"

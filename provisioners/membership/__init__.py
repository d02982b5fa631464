"""Phase 3: the nodes are one cluster, joined over networks that fail apart."""

from provisioners.membership.phase import PHASE, MembershipPhase

__all__ = ["PHASE", "MembershipPhase"]

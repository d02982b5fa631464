"""Phase 7: guests come back by themselves when a node or the guest dies, and never run twice."""

from provisioners.ha.phase import PHASE, HaPhase

__all__ = ["PHASE", "HaPhase"]

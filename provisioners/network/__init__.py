"""Phase 2: two links behave as one, and guests stay out of the host network."""

from provisioners.network.phase import PHASE, NetworkPhase

__all__ = ["PHASE", "NetworkPhase"]

"""Phase 0: what was ordered has arrived and can be reached. Nothing is changed."""

from provisioners.preflight.findings import Finding, findings
from provisioners.preflight.phase import PHASE, Preflight

__all__ = ["PHASE", "Finding", "Preflight", "findings"]

"""Phase 4: Ceph on every data drive, with the ordered pools and file system, known to Proxmox VE."""

from provisioners.ceph.phase import PHASE, CephPhase

__all__ = ["PHASE", "CephPhase"]

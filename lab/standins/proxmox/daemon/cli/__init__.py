"""The commands of a Proxmox VE node: pct, pveceph, pvecm, pvesh, pveum, qm."""

"""The commands of a Proxmox VE node: pvecm, pvesh, pveum."""

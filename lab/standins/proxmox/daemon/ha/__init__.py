"""High availability: Proxmox VE's objects, states and times over Pacemaker with diskless SBD."""

"""Stand-ins for Proxmox VE: the installer that runs from the medium, and the face of a node."""

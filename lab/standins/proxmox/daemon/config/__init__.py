"""The files of a Proxmox VE node and what is done with them: corosync.conf, user.cfg, storage.cfg ..."""

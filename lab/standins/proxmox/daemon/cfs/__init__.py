"""The stand-in's cluster file system: /etc/pve, the same on every member, writable only with quorum."""

"""Ceph on a node as Proxmox VE keeps it: configuration, keys, daemons, volumes. The daemons are Ceph's."""

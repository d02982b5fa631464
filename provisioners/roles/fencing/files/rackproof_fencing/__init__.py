"""Power-cycles a node that the cluster has lost, by Redfish: what Proxmox VE's own HA never does.

Runs on every node as `rackproof-fencing.service`; standard library only. `decide.py` holds all judgement and
touches nothing; `service.py` looks, asks it, and does what it says.
"""

"""The node software of the Proxmox stand-in; on a node installed as the package pve_standin."""

"""The API of Proxmox VE on port 8006: registry of endpoints, tasks, tickets, permissions, server."""

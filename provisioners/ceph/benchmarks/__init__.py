"""Benchmarks of the storage: fio on all nodes at once, through librbd and through the kernel."""

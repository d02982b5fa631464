"""Breaks a cluster on purpose, watches what it costs, and heals it, whatever happens to the harness
meanwhile.
"""

"""Evidence of a run: what was tried, what was measured, which criteria are met.

Imports none of the other rooms.
"""

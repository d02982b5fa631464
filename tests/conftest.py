"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# A neighbour on the machine makes one example slow; pytest-timeout bounds the test as a whole.
settings.register_profile("rackproof", deadline=None)
settings.load_profile("rackproof")

"""From a sentence to a call; no logic worth a unit test."""

"""Programs that are sent to a node and run there; they use nothing but Python's standard library."""

"""Golden guests: a container and a virtual machine that count, by which drills see guests come back."""

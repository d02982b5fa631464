"""What must be done to make a phase true: one package a phase, and the loop that converges them."""

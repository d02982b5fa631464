"""The installer on the rack's medium. Runs on the live system with the standard library alone."""

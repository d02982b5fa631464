"""The library of faults: every concrete `Fault` in a module of this package is found by itself."""

"""The cluster under test: the site file and every way to talk to what it names."""

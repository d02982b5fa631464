"""The virtual rack: servers, switches, BMCs and cloud endpoints on one machine."""

"""The BMC stand-in: sushy-tools, plus what a server's BMC has and sushy-tools lacks."""

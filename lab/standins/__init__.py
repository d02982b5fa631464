"""What imitates things that cannot be had on one machine; README.md says of each what is real."""

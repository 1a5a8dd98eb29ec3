"""`data` and its command `pack`."""

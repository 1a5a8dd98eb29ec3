"""Other search methods at equal latency, which slimming is compared with."""

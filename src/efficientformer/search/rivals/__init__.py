"""Simpler ways to a network of the same latency, which slimming is compared with."""

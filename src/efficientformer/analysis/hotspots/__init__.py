"""The latency of a network by operator."""

"""The latency lookup table: built from chains of parts, checked on whole networks, and what it predicts."""

"""Comparison of any networks on any runtimes: latency ratios and published accuracy."""

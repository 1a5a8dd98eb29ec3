"""Vision transformers that meet a latency budget on the user's own device."""

__version__ = "0.1.0"

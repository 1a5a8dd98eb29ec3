"""The page of `benchmark`."""

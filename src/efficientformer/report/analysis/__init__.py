"""The page of `analyze`."""

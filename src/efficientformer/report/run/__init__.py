"""The page of a run directory."""

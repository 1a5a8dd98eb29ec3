"""Training, scoring and exporting the networks of a run."""

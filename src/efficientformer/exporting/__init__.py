"""Finished networks as files that a runtime loads."""

"""Weights by the names of other code bases, and loading them into our networks."""

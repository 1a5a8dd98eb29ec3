"""Scoring a subnet with the supernet's weights."""

"""Limits of the images that are read; without Pillow, for settings and command line."""

MAX_PIXELS = 150_000_000
"""Default limit of a picture: the largest of cameras, 450 MB in memory. Beyond it may be a file made to do harm."""

"""Exported files on images, without a run."""

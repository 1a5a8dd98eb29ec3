"""Masks of objects: images with shapes, Mask R-CNN, average precision of masks and boxes."""

"""A class for every pixel: loss, scores, predictions."""

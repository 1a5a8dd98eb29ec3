"""Image classification: loss, scores, predictions, contact sheet."""

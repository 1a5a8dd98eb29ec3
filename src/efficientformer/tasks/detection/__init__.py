"""Images with boxes around their objects: loss, scores, predictions, drawing (after FCOS, Tian et al., 2019)."""

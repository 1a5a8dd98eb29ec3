"""Images of several classes or none: loss, scores."""

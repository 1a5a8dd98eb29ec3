"""What a network of a run gets: training, scores, an exported file in its fastest form."""

"""The deploy form of a network: norms and branches folded into the layers before them."""

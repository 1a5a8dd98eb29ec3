"""How batches are made: their images, the order of these, the processes that load them."""

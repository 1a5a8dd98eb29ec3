"""How batches are made: the order of images, the processes that load them."""

"""How batches are made: the processes that load images."""

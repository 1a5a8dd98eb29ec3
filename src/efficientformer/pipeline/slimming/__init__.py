"""How a run is slimmed to its budgets: the descent, its scores, and the measurements that correct it."""

"""Published networks on the user's device: measured, kept for later runs, and held against budgets."""

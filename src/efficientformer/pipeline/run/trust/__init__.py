"""Which programs a run may start: those that this user has named."""

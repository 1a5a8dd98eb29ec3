"""What can be done with finished latency tables: describe, check, merge, compare, predict."""

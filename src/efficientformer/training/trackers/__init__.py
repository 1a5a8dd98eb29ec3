"""Curves of trainings in other people's programs, one file each. `metrics.jsonl` has them in any case."""

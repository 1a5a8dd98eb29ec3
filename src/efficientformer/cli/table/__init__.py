"""Verb `table`, and its commands for finished tables: show, check, merge, diff, predict."""

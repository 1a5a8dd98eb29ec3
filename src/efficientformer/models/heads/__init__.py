"""Heads of dense tasks: they read the maps of several stages and give one tensor."""

"""How a network is timed on a shared machine: clocks, calm rounds, quiet samples, the record of a measurement."""

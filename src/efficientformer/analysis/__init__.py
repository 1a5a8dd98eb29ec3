"""Section 3 of the paper on the user's own device: its observations as experiments, and where the milliseconds go."""

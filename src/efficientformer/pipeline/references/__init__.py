"""References: published networks that are fine-tuned as the networks of a run are trained, and compared with them."""

"""Data sets of images of the Hugging Face hub, or in its formats on this disk."""

"""Architectures as PyTorch modules, one file per idea of the paper's section 4.1, and their weights and deploy form."""

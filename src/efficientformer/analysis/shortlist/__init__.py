"""The published networks, and which of them suit a device and a budget."""

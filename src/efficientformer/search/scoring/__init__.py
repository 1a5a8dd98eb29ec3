"""How a subnet is scored with the supernet's weights."""

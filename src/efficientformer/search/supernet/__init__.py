"""The supernet of MetaPaths and its Gumbel-softmax training (paper, section 4.2)."""

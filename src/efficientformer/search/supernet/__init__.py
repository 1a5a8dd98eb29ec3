"""The supernet of MetaPaths with its Gumbel-softmax training (paper, section 4.2), and V2's slimmable network."""

"""Gumbel-softmax mixing of candidate paths (paper, section 4.2).

The paper weights the candidates of a MetaPath by softmax((alpha + noise) / temperature) with noise drawn from U(0, 1).
Gumbel noise is an alternative.
"""

import torch
from torch import Tensor

from efficientformer.search.supernet.mixing import Noise


def path_weights(alpha_P: Tensor, *, temperature: float, noise: Noise = "uniform") -> Tensor:
    """Mixing weights of P candidate paths, positive and summing to one; gradients reach `alpha_P`."""
    if noise == "uniform":
        alpha_P = alpha_P + torch.rand_like(alpha_P)
    elif noise == "gumbel":
        alpha_P = alpha_P - torch.log(-torch.log(torch.rand_like(alpha_P).clamp(1e-9, 1 - 1e-7)))
    return torch.softmax(alpha_P / temperature, dim=0)


def straight_through(weights_P: Tensor, chosen: int) -> Tensor:
    """A factor of value one for the output of the chosen path, which passes its gradient on to the logits.

    Only that candidate is computed: a step costs one block instead of three.
    """
    return 1 + weights_P[chosen] - weights_P[chosen].detach()

"""Random weights for networks that are measured untrained, with activations as large as those of trained networks.

Freshly initialized networks hide faults and can mislead a timer. Layer scales of 1e-5 or zero make every block an
identity, so a broken block does not change the output; and values that shrink from layer to layer become denormal
numbers, which processors compute slowly. Here scales, norms and biases are random, and the statistics of batch norm are
those of random images, so that values keep their magnitude from the first layer to the last.
"""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

NUM_IMAGES = 4
SMALL = 0.2
"""A constant parameter up to this value is taken to be an initial layer scale."""
BRANCH = (0.1, 0.4)
"""Scales of a norm that starts at zero: it ends a residual branch. At the scale of other norms the sum of many branches
grows until attention saturates, and then no two runtimes agree: single precision was 0.4 standard deviations off double
precision in LeViT-192."""
SPREAD = 0.1
LEAST_VARIANCE = 0.1
"""Least variance of a channel, as a fraction of the mean over channels: few images estimate it poorly."""


@torch.no_grad()
def randomize(module: nn.Module, input_shape: tuple[int, ...], seed: int = 0) -> None:
    """Draw every parameter that is still constant, then estimate batch norm statistics, in place.

    The module is left in evaluation mode. The same seed gives the same weights.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if parameter.numel() and bool((parameter == parameter.flatten()[0]).all()):
            _draw(name, parameter, generator)
    _calibrate(module.eval(), input_shape, generator)


def _draw(name: str, parameter: nn.Parameter, generator: torch.Generator) -> None:
    value = abs(parameter.flatten()[0].item())
    is_weight = name.endswith((".weight", "weight")) and parameter.ndim == 1
    if value == 0 and not is_weight:  # biases, tables of attention biases, heads that start at zero
        parameter.normal_(0, SPREAD, generator=generator)
    elif value == 0:
        parameter.uniform_(*BRANCH, generator=generator)
    elif value <= SMALL:
        parameter.uniform_(0.2, 0.8, generator=generator)
    else:  # norms
        parameter.uniform_(0.5, 1.5, generator=generator)


def _calibrate(module: nn.Module, input_shape: tuple[int, ...], generator: torch.Generator) -> None:
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        module(torch.randn(NUM_IMAGES, *input_shape[1:], generator=generator))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
            if norm.running_var is not None:
                norm.running_var.clamp_(min=LEAST_VARIANCE * norm.running_var.mean())

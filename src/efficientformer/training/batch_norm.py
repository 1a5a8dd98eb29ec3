"""Batch norm that sees the batches of all processes, where a training asks for it.

PyTorch's SyncBatchNorm replaces modules, and works on GPUs alone. Supernets call templates of their parts, which are
built once for all trainings: so for the time of a step, the forward pass of every batch norm is another one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@contextmanager
def synchronized(is_on: bool) -> Iterator[None]:
    """Where `is_on`, `nn.BatchNorm2d` in training mode has the mean and the variance of the batches of all processes,
    which must make the same calls in the same order, in backward passes as well."""
    if not is_on:
        yield
        return
    alone = nn.BatchNorm2d.forward

    def forward(self: nn.BatchNorm2d, input: Tensor) -> Tensor:
        return _normed(self, input.float()).to(input.dtype) if self.training else alone(self, input)

    nn.BatchNorm2d.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.BatchNorm2d.forward = alone  # type: ignore[method-assign]


def _normed(norm: nn.BatchNorm2d, x_BCHW: Tensor) -> Tensor:
    """Two sums over the processes, as differences of squares would lose precision."""
    dims = 0, 2, 3
    num = x_BCHW.new_full((1,), x_BCHW.numel() / x_BCHW.shape[1])
    sums = _Sum.apply(torch.cat([x_BCHW.sum(dims), num]))
    num, mean_C = sums[-1].detach(), sums[:-1] / sums[-1]
    centered_BCHW = x_BCHW - mean_C[:, None, None]
    variance_C = _Sum.apply(centered_BCHW.square().sum(dims)) / num
    with torch.no_grad():
        assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
        norm.num_batches_tracked += 1
        share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean_C, share)
        norm.running_var.lerp_(variance_C * num / (num - 1), share)
    scale_C = torch.rsqrt(variance_C + norm.eps)
    if norm.weight is not None:
        scale_C = scale_C * norm.weight
    normed_BCHW = centered_BCHW * scale_C[:, None, None]
    return normed_BCHW if norm.bias is None else normed_BCHW + norm.bias[:, None, None]


class _Sum(torch.autograd.Function):
    """The sum over the processes. A value of one is a part of the sum in each, so gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.clone()
        dist.all_reduce(total)
        return total

"""Values that are not finite stay out of a network: steps that are not taken, states that are not kept.

One gradient that is not finite would make every weight NaN. One image whose features overflow would leave batch norm
with an infinite variance for good, although loss and gradient are finite.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from efficientformer.errors import TrainingError
from efficientformer.training.recipe import Recipe

MOST_IN_A_ROW = 10
"""Steps in a row without a finite gradient, after which training stops."""


class KeptStatistics:
    """The running statistics of batch norm before a step, to undo it."""

    def __init__(self, model: nn.Module) -> None:
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        buffers = [buffer for norm in norms for buffer in norm.buffers()]
        self._floats = [buffer for buffer in buffers if buffer.is_floating_point()]
        self._buffers, self._kept = buffers, [buffer.clone() for buffer in buffers]

    def keep(self) -> None:
        if self._buffers:
            torch._foreach_copy_(self._kept, self._buffers)

    def undo(self) -> None:
        if self._buffers:
            torch._foreach_copy_(self._buffers, self._kept)

    def norm(self, like: Tensor) -> Tensor:
        """The norm of all running statistics, finite if they are; a scalar on the device of `like`."""
        return nn.utils.get_total_norm(self._floats) if self._floats else like.new_zeros(())


def require_finite_loss(loss: float, step: int, lr: float, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        raise TrainingError(f"The loss became {loss} at step {step} (learning rate {lr:.2g}). {_remedy(recipe)}")


def require_finite_gradients(skipped_in_row: int, step: int, lr: float, recipe: Recipe) -> None:
    if skipped_in_row >= MOST_IN_A_ROW:
        raise TrainingError(
            f"The gradient was not finite at {MOST_IN_A_ROW} steps in a row, up to step {step} (learning rate "
            f"{lr:.2g}). The last checkpoint holds the weights before them. {_remedy(recipe)}"
        )


def require_finite_weights(modules: Iterable[nn.Module], step: int, lr: float, recipe: Recipe) -> None:
    """Raises TrainingError unless every weight and every statistic is finite: such a state is neither kept nor used."""
    for module in modules:
        for name, tensor in module.state_dict().items():
            if not bool(tensor.isfinite().all()):
                raise TrainingError(
                    f"The weights are not finite after {step} steps (first {name}; learning rate {lr:.2g}). "
                    f"{_remedy(recipe)}"
                )


def skipped_text(step: int) -> str:
    return f"step {step} is not taken: its gradient or its statistics are not finite"


def all_skipped_text(skipped_steps: int, num_steps: int) -> str:
    return (
        f"{skipped_steps} of {num_steps} steps were not taken, since gradients or statistics were not finite; "
        "a lower learning rate avoids it"
    )


def _remedy(recipe: Recipe) -> str:
    precision = ", or compute with precision fp32," if recipe.precision != "fp32" else ""
    return f"Lower the learning rate (--train.lr or --supernet.lr){precision} and run the command again."

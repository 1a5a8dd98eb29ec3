"""What the training loop knows of a task: a loss for a batch, and nothing else."""

from typing import Protocol

from torch import Tensor, nn


class Task(Protocol):
    """`progress` runs from 0 (first step) to 1 (after the last) and drives whatever changes with training."""

    def loss(self, model: nn.Module, images_BCHW: Tensor, labels_B: Tensor, progress: float) -> Tensor: ...

    def logged(self) -> dict[str, float]:
        """Values of the last step worth a column in the training log."""
        ...

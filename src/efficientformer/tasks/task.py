"""What the training loop knows of a task."""

from typing import Protocol

from torch import Tensor, nn


class Task(Protocol):
    """A loss, and what else training by it needs; a subclass inherits that it needs nothing else.

    `progress` runs from 0 (first step) to 1 (after the last) and drives whatever changes with training.
    """

    def loss(self, model: nn.Module, images_BCHW: Tensor, labels_B: Tensor, progress: float) -> Tensor: ...

    def prepare(self, model: nn.Module, step: int) -> None:
        """Set the model up for a step, before its forward pass. A resumed run begins at any step."""
        return

    def lr_scales(self) -> dict[str, float]:
        """Learning rates as multiples of the schedule's, by the last part of a parameter's name. These parameters are
        not decayed."""
        return {}

    def logged(self) -> dict[str, float]:
        """Values of the last step worth a column in the training log."""
        return {}

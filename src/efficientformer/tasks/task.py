"""The interface between a task and the training loop."""

from typing import Protocol

from torch import Tensor, nn

from efficientformer.data.loading.loader import Batch


class Task(Protocol):
    """A loss, and hooks of the training loop that do nothing unless a task needs them.

    uses_all_parameters: whether the loss always depends on every parameter, which processes that train together need
        not find out then.
    """

    uses_all_parameters: bool = False

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        """The loss of a batch. `progress` of training grows from 0 at the first step to 1 after the last."""
        ...

    def prepare(self, model: nn.Module, step: int) -> None:
        """Set the model up for a step, before its forward pass. A resumed run may begin at any step."""
        return

    def lr_scales(self) -> dict[str, float]:
        """Learning rates as multiples of the schedule's, by the last part of a parameter's name. Parameters with such
        a name are not decayed."""
        return {}

    def logged(self) -> dict[str, float]:
        """Values of the last step for the training log."""
        return {}

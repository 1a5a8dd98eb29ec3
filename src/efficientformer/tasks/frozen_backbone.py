"""Fine-tuning in two parts: the heads alone, then all layers."""

from torch import Tensor, nn

from efficientformer.models.network import Network
from efficientformer.tasks.task import Task


class FrozenBackbone(Task):
    """A task whose first `num_steps` steps train the heads of a network alone."""

    def __init__(self, task: Task, num_steps: int) -> None:
        self._task, self._num_steps = task, num_steps

    def loss(self, model: nn.Module, images_BCHW: Tensor, labels_B: Tensor, progress: float) -> Tensor:
        return self._task.loss(model, images_BCHW, labels_B, progress)

    def prepare(self, model: nn.Module, step: int) -> None:
        assert isinstance(model, Network)
        model.freeze_backbone(step < self._num_steps)
        self._task.prepare(model, step)

    def lr_scales(self) -> dict[str, float]:
        return self._task.lr_scales()

    def logged(self) -> dict[str, float]:
        return self._task.logged()

"""Fine-tuning in two parts: the heads alone, then all layers."""

from torch import Tensor, nn

from efficientformer.data.loading.loader import Batch
from efficientformer.models.network import Network
from efficientformer.tasks.task import Task


class FrozenBackbone(Task):
    """A task whose first `num_steps` steps train the heads of a network alone, one of this package or of timm."""

    def __init__(self, task: Task, num_steps: int) -> None:
        self._task, self._num_steps, self._is_frozen = task, num_steps, False

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        if self._is_frozen and not isinstance(model, Network):
            model.eval()  # the loop has set all of it to train, and batch norm would go on
            for head in _heads(model):
                head.train()
        return self._task.loss(model, batch, progress)

    def prepare(self, model: nn.Module, step: int) -> None:
        self._is_frozen = step < self._num_steps
        if isinstance(model, Network):
            model.freeze_backbone(self._is_frozen)
        else:
            model.requires_grad_(not self._is_frozen)
            for head in _heads(model):
                head.requires_grad_(True)
        self._task.prepare(model, step)

    def lr_scales(self) -> dict[str, float]:
        return self._task.lr_scales()

    def logged(self) -> dict[str, float]:
        return self._task.logged()


def _heads(model: nn.Module) -> list[nn.Module]:
    """The classifiers of a network of timm: one, or two where it learned from a teacher."""
    heads = model.get_classifier()  # type: ignore[operator]
    return list(heads) if isinstance(heads, tuple | list) else [heads]

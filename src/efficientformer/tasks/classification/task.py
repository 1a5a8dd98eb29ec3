"""Image classification: the loss that trains a network."""

from torch import Tensor, nn
from torch.nn import functional

from efficientformer.data.loading.loader import Batch
from efficientformer.data.mixing import Mixing
from efficientformer.tasks.task import Task


class Classification(Task):
    """Cross-entropy against the soft targets that `mixing` makes of a batch (label smoothing, mixup, cutmix)."""

    uses_all_parameters = True

    def __init__(self, mixing: Mixing) -> None:
        self._mixing = mixing

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        images_BCHW, targets_BK = self._mixing(*batch)
        return functional.cross_entropy(model(images_BCHW), targets_BK)

"""Several labels an image: the loss that trains a network."""

from torch import Tensor, nn
from torch.nn import functional

from efficientformer.data.loading.loader import Batch
from efficientformer.data.mixing import Mixing
from efficientformer.tasks.task import Task


class MultiLabel(Task):
    """Binary cross-entropy of every class against the targets that `mixing` makes of a batch."""

    uses_all_parameters = True

    def __init__(self, mixing: Mixing) -> None:
        self._mixing = mixing

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        images_BCHW, targets_BK2 = self._mixing(*batch)
        return binary_losses(model(images_BCHW), targets_BK2).mean()


def binary_losses(logits_BK: Tensor, targets_BK2: Tensor) -> Tensor:
    """Binary cross-entropies (B, K). targets_BK2: what counts for a class, and what counts against it."""
    logits_BK = logits_BK.float()  # also where products are in half precision
    for_BK, against_BK = targets_BK2.unbind(dim=2)
    return -(for_BK * functional.logsigmoid(logits_BK) + against_BK * functional.logsigmoid(-logits_BK))

"""Image classification: the loss that trains a network."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

Mixing = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Classification:
    """Cross-entropy against the soft targets that `mixing` makes of a batch (label smoothing, mixup, cutmix)."""

    def __init__(self, mixing: Mixing) -> None:
        self._mixing = mixing

    def loss(self, model: nn.Module, images_BCHW: Tensor, labels_B: Tensor, progress: float) -> Tensor:
        images_BCHW, targets_BK = self._mixing(images_BCHW, labels_B)
        return functional.cross_entropy(model(images_BCHW), targets_BK)

    def logged(self) -> dict[str, float]:
        return {}

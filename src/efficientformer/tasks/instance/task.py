"""Masks of objects: the loss that trains Mask R-CNN."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from efficientformer.data.loading.loader import Batch
from efficientformer.models.heads.mask_rcnn import MaskRcnnHead
from efficientformer.models.layout import grid_of
from efficientformer.models.network import Network
from efficientformer.tasks.task import Task


class InstanceSegmentation(Task):
    """The sum of Mask R-CNN's five losses: of proposals, whether there is an object and where; of objects, their class,
    box and mask.

    Batch norm of the stages keeps its statistics, as in the authors' recipe: batches are small.
    """

    def __init__(self) -> None:
        self._last: dict[str, Tensor] = {}

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        assert isinstance(model, Network) and isinstance(model.head, MaskRcnnHead)
        for module in (*model.stem.modules(), *model.stages.modules()):
            if isinstance(module, _BatchNorm):
                module.eval()
        maps = model.forward_normed_maps(batch.images)
        losses = model.head.losses(maps, grid_of(batch.images), batch.labels)
        self._last = {name: loss.detach() for name, loss in losses.items()}
        return torch.stack(list(losses.values())).sum()

    def logged(self) -> dict[str, float]:
        return {name: loss.item() for name, loss in self._last.items()}

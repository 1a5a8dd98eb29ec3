"""Boxes around objects: the loss that trains a network."""

from torch import Tensor, nn

from efficientformer.data.loading.loader import Batch
from efficientformer.tasks.detection.assignment import assign
from efficientformer.tasks.detection.loss import of_boxes, parts_of_loss
from efficientformer.tasks.task import Task


class Detection(Task):
    """The loss of a batch over its boxes."""

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        return batch_loss(model(batch.images), batch.labels)


def batch_loss(outputs_BAD: Tensor, boxes_BN5: Tensor) -> Tensor:
    """The loss over the boxes of the batch. Without any box it is that of the classes alone."""
    targets = of_boxes(assign(boxes_BN5, outputs_BAD.shape[1]), outputs_BAD.shape[2] - 5)
    return parts_of_loss(outputs_BAD, targets).of_batch()

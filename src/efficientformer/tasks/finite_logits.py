"""The logits of a network that is scored."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from efficientformer.data.loading.loader import Batch
from efficientformer.errors import TrainingError


def finite_logits(model: nn.Module, images_BCHW: Tensor) -> Tensor:
    """Logits (B, ...) of images, float32 on the CPU. Raises TrainingError for logits that are not finite: NaN would
    count as a vote for the first class."""
    logits: Tensor = model(images_BCHW.to(next(model.parameters()).device)).float().cpu()
    if num_lost := int((~logits.isfinite()).flatten(1).any(dim=1).sum()):
        raise TrainingError(
            f"The network has no accuracy: its outputs are not finite for {num_lost} of {len(logits)} images. "
            "Its weights are damaged, or its training diverged: train it again, with a lower learning rate."
        )
    return logits


def answers_of(
    model: nn.Module, batches: Iterable[Batch], on_batch: Callable[[int], None] | None
) -> Iterator[tuple[Tensor, Any]]:
    """Finite logits and labels of every batch, by a model that is put into evaluation mode.

    on_batch: called with the number of images of each batch once it was scored.
    """
    model.eval()
    for images_BCHW, labels in batches:
        yield finite_logits(model, images_BCHW), labels
        if on_batch is not None:
            on_batch(len(labels))

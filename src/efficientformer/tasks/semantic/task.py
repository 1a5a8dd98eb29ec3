"""A class for every pixel: the loss that trains a network."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from efficientformer.data.loading.loader import Batch
from efficientformer.data.masks.mask import IGNORED
from efficientformer.tasks.task import Task


class Segmentation(Task):
    """Mean cross-entropy of the pixels that are not ignored."""

    uses_all_parameters = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self._label_smoothing = label_smoothing

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        return pixel_loss(model(batch.images), batch.labels, self._label_smoothing)


def pixel_loss(logits_BKHW: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy over pixels. targets: numbers of classes (B, H, W), of which `IGNORED` do not count, or
    probabilities (B, K, H, W). Of a batch without a pixel that counts it is 0, and so is its gradient."""
    logits_BKHW = logits_BKHW.float()  # also where products are in half precision
    if targets.is_floating_point():
        losses = functional.cross_entropy(logits_BKHW, targets, label_smoothing=label_smoothing, reduction="sum")
        return losses / targets[:, 0].numel()
    losses = functional.cross_entropy(
        logits_BKHW, targets, ignore_index=IGNORED, label_smoothing=label_smoothing, reduction="sum"
    )
    return losses / (targets != IGNORED).sum().clamp(min=1)


def pixel_divergence(logits_BKHW: Tensor, taught_BKHW: Tensor, temperature: float) -> Tensor:
    """Mean over pixels of the Kullback-Leibler divergence from a teacher's answers, at a temperature, times its
    square."""
    student, teacher = (logits.float().div(temperature).log_softmax(dim=1) for logits in (logits_BKHW, taught_BKHW))
    divergences = functional.kl_div(student, teacher, reduction="sum", log_target=True)
    return temperature**2 * divergences / logits_BKHW[:, 0].numel()


def image_losses(factors: Tensor, logits_BKHW: Tensor, masks_BHW: Tensor) -> Tensor:
    """Losses (factors, B): the mean cross-entropy of every image's labelled pixels where logits are multiplied by each
    of the factors; 0 for an image without such pixels."""
    losses = []
    for logits_KHW, mask_HW in zip(logits_BKHW.float(), masks_BHW, strict=True):
        is_labelled_HW = mask_HW != IGNORED
        logits_NK = logits_KHW.permute(1, 2, 0)[is_labelled_HW]
        behind_NK = logits_NK - logits_NK.gather(1, mask_HW[is_labelled_HW].long()[:, None])
        count = max(1, len(behind_NK))
        losses.append(torch.stack([(factor * behind_NK).logsumexp(dim=1).sum() / count for factor in factors]))
    return torch.stack(losses, dim=1)

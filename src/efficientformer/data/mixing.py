"""Mixup and CutMix: images of a batch are blended or pasted into one another, and their labels accordingly.

Everything is drawn from the global torch generator, which the training loop seeds at each step.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from efficientformer.errors import UsageError

Mixing = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def class_weights(num_images_per_class: Sequence[int]) -> list[float]:
    """Weights of the classes, inverse to their numbers of images; their mean over all images is 1."""
    num_classes = sum(count > 0 for count in num_images_per_class)
    share = sum(num_images_per_class) / max(1, num_classes)
    return [share / count if count else 0.0 for count in num_images_per_class]


def refuse_mixing(labels: str, is_weighted: bool, mixup: float, cutmix: float) -> None:
    """Raises UsageError for what labels that lie in images do not have. labels: what they are, such as masks."""
    if mixup or cutmix:
        raise UsageError(f"Images with {labels} are not blended: set mixup and cutmix to 0.")
    if is_weighted:
        raise UsageError(f"{labels.capitalize()} have no weights of classes: use balance none or sampling.")


def build_mixing(
    mixup: float, cutmix: float, num_classes: int, label_smoothing: float, weights: Sequence[float] | None = None
) -> Mixing:
    """A function (x_BCHW, y_B) -> (x_BCHW, targets_BK), where rows of targets sum to 1, or to the image's weight.

    `mixup` and `cutmix` are the alphas of their Beta distributions, 0 for none; with both, each batch gets one of them
    with equal chance, as in the paper's recipe. `label_smoothing` is the part of every target that is spread evenly
    over all classes. `weights` are those of images by class: a mixed image has the mean of both weights by its shares
    of them. A row of targets is multiplied by its image's weight, and so is the image's cross-entropy; weights of the
    classes in the cross-entropy itself would make label smoothing favor the rare ones. Raises UsageError for a negative
    alpha or a smoothing outside 0 to 1.
    """
    _require_valid(mixup, cutmix, label_smoothing)
    mixers = _mixers(mixup, cutmix, num_classes)
    weights_K = None if weights is None else torch.tensor(weights)

    def mix_batch(x_BCHW: Tensor, y_B: Tensor) -> tuple[Tensor, Tensor]:
        targets_BK = one_hot(y_B, num_classes).float()
        if mixers:
            choice = int(torch.randint(len(mixers), ())) if len(mixers) > 1 else 0
            x_BCHW, targets_BK = mixers[choice](x_BCHW, targets_BK)
        smoothed_BK = targets_BK * (1 - label_smoothing) + label_smoothing / num_classes
        if weights_K is None:
            return x_BCHW, smoothed_BK
        weights_B = targets_BK @ weights_K.to(targets_BK.device)
        return x_BCHW, smoothed_BK * weights_B[:, None]

    return mix_batch


def binary_weights(num_images_per_class: Sequence[int], num_images: int) -> list[tuple[float, float]]:
    """By class, the weight of an image that has it and of one that does not: inverse to the numbers of such images,
    with a mean of 1 over all images. A class that all images have, or none, has the weights 1."""
    return [
        (num_images / (2 * count), num_images / (2 * (num_images - count))) if 0 < count < num_images else (1.0, 1.0)
        for count in num_images_per_class
    ]


def build_label_mixing(
    mixup: float,
    cutmix: float,
    shares: Sequence[float],
    label_smoothing: float,
    weights: Sequence[tuple[float, float]] | None = None,
) -> Mixing:
    """The same for images of several labels: a function (x_BCHW, y_BK) -> (x_BCHW, targets_BK2), what counts for a
    class and what counts against it, which sum to 1, or to a weight.

    shares: of the images that have each class. `label_smoothing` is the part of every target that is replaced by them:
        a network that knows nothing of an image still answers with the shares. With classes of equal size that exclude
        one another, this is the smoothing of one label an image.
    weights: by class, of what counts for it and against it.

    Raises as `build_mixing` does.
    """
    _require_valid(mixup, cutmix, label_smoothing)
    mixers = _mixers(mixup, cutmix, len(shares))
    shares_K, weights_K2 = torch.tensor(shares), None if weights is None else torch.tensor(weights)

    def mix_batch(x_BCHW: Tensor, y_BK: Tensor) -> tuple[Tensor, Tensor]:
        if mixers:
            choice = int(torch.randint(len(mixers), ())) if len(mixers) > 1 else 0
            x_BCHW, y_BK = mixers[choice](x_BCHW, y_BK)
        smoothed_BK = y_BK * (1 - label_smoothing) + label_smoothing * shares_K.to(y_BK)
        targets_BK2 = torch.stack([smoothed_BK, 1 - smoothed_BK], dim=2)
        return x_BCHW, targets_BK2 if weights_K2 is None else targets_BK2 * weights_K2.to(y_BK)

    return mix_batch


def _require_valid(mixup: float, cutmix: float, label_smoothing: float) -> None:
    if mixup < 0 or cutmix < 0:
        raise UsageError(f"mixup and cutmix must not be negative, got {mixup} and {cutmix}.")
    if not 0 <= label_smoothing < 1:
        raise UsageError(f"label_smoothing must be at least 0 and below 1, got {label_smoothing}.")


def _mixers(mixup: float, cutmix: float, num_classes: int) -> list[Mixing]:
    if not mixup and not cutmix:
        return []
    from torchvision.transforms import v2  # seconds to import

    mixers: list[Mixing] = []
    if mixup:
        mixers.append(v2.MixUp(alpha=mixup, num_classes=num_classes))
    if cutmix:
        mixers.append(v2.CutMix(alpha=cutmix, num_classes=num_classes))
    return mixers

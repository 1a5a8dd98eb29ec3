"""A class for every pixel: cross-entropy, mean IoU, and the likelihood of the correct classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Unpack

from torch import Tensor, nn

from efficientformer.arch.resolution import Grid
from efficientformer.data.augmentation import Augmentation
from efficientformer.data.dataset import ImageDataset, ImageSplit, LoadOptions
from efficientformer.data.masks.mask_folder import load_mask_folder
from efficientformer.data.masks.view import FullSizeMaskView, MaskView, TrainMaskView
from efficientformer.data.mixing import Mixing, refuse_mixing
from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import UsageError
from efficientformer.tasks.kind import LOGITS, Batches, Reduction
from efficientformer.tasks.semantic.scores import Confusion, SemanticScores, evaluate, own_part
from efficientformer.tasks.semantic.task import Segmentation, image_losses, pixel_divergence, pixel_loss
from efficientformer.tasks.words import SEMANTIC


class Unmixed:
    """A `Mixing` that leaves images and masks as they are; the loss smooths."""

    def __init__(self, label_smoothing: float) -> None:
        if not 0 <= label_smoothing < 1:
            raise UsageError(f"label_smoothing must be at least 0 and below 1, got {label_smoothing}.")
        self.label_smoothing = label_smoothing

    def __call__(self, images_BCHW: Tensor, masks_BHW: Tensor) -> tuple[Tensor, Tensor]:
        return images_BCHW, masks_BHW


class Semantic:
    """The `TaskKind` of semantic segmentation. Labels are masks (B, H, W) of class numbers and `IGNORED`; so are the
    decisions of a network. Logits are (B, K, H, W)."""

    words = SEMANTIC
    eval_batch_size = 8

    def load(self, path: Path, **options: Unpack[LoadOptions]) -> ImageDataset:
        return load_mask_folder(path, **options)

    def train_view(self, preprocessing: Preprocessing, augmentation: Augmentation) -> TrainMaskView:
        return TrainMaskView(preprocessing, augmentation)

    def eval_view(self, preprocessing: Preprocessing) -> MaskView:
        return MaskView(preprocessing)

    def score_view(self, preprocessing: Preprocessing) -> FullSizeMaskView:
        return FullSizeMaskView(preprocessing)

    def task(self, mixing: Mixing) -> Segmentation:
        return Segmentation(mixing.label_smoothing if isinstance(mixing, Unmixed) else 0.0)

    def mixing(
        self, images: ImageSplit, label_smoothing: float, *, is_weighted: bool, mixup: float = 0.0, cutmix: float = 0.0
    ) -> Unmixed:
        refuse_mixing("masks", is_weighted, mixup, cutmix)
        return Unmixed(label_smoothing)

    def supernet_mixing(
        self, images: ImageSplit, label_smoothing: float, *, is_weighted: bool, mixup: float = 0.0, cutmix: float = 0.0
    ) -> tuple[None, float]:
        refuse_mixing("masks", is_weighted, mixup, cutmix)
        return None, label_smoothing

    def targets(self, labels: Tensor) -> Tensor:
        return labels

    def answers(self, logits_BK: Tensor) -> Tensor:
        return logits_BK.float().softmax(dim=1)

    def decisions(self, logits_BK: Tensor) -> Tensor:
        return logits_BK.argmax(dim=1)

    def loss(
        self, logits_BK: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> Tensor:
        loss = pixel_loss(logits_BK, targets, label_smoothing)
        return loss if reduction == "mean" else loss * len(logits_BK)

    def divergence(self, logits_BK: Tensor, taught_BK: Tensor, temperature: float) -> Tensor:
        return pixel_divergence(logits_BK, taught_BK, temperature)

    def losses_at(self, factors: Tensor, logits_BK: Tensor, labels: Tensor) -> Tensor:
        return image_losses(factors, logits_BK, labels)

    def comparable(self, network: nn.Module) -> nn.Module:
        return network

    def exported(self, network: nn.Module, grid: Grid) -> tuple[nn.Module, str]:
        return network, LOGITS

    def count(self) -> "IouCount":
        return IouCount()

    def evaluate(
        self, model: nn.Module, batches: Batches, num_classes: int, *, on_batch: Callable[[int], None] | None = None
    ) -> SemanticScores:
        return evaluate(self.scored(model), batches, num_classes, on_batch=on_batch)

    def scored(self, model: nn.Module) -> nn.Module:
        """What answers for the model where it is scored."""
        return model


class IouCount:
    """Mean IoU over batches: a `Count`. Until the last image is known it may still be anything."""

    def __init__(self) -> None:
        self._confusion: Confusion | None = None

    def add(self, logits_BK: Tensor, labels: Tensor) -> None:
        confusion = self._confusion = self._confusion or Confusion(logits_BK.shape[1])
        for taken_HW, mask_HW in zip(logits_BK.argmax(dim=1).cpu(), labels.cpu(), strict=True):
            confusion.add(taken_HW, own_part(mask_HW))

    def best(self, num_left: int) -> float:
        return 100.0 if num_left or self._confusion is None else self._confusion.scores().miou


SEMANTIC_KIND = Semantic()

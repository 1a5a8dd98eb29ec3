"""Images of several classes or none: binary cross-entropy, mean average precision, likelihood of all answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from efficientformer.arch.resolution import Grid
from efficientformer.data.augmentation import Augmentation
from efficientformer.data.dataset import ImageDataset, ImageSplit, LoadOptions
from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.mixing import Mixing, binary_weights, build_label_mixing
from efficientformer.data.transforms import Preprocessing, eval_transform, train_transform
from efficientformer.tasks.kind import LOGITS, Batches, Reduction
from efficientformer.tasks.multi_label.scores import LabelScores, evaluate, label_scores
from efficientformer.tasks.multi_label.task import MultiLabel, binary_losses
from efficientformer.tasks.multi_label.view import LabelSetView
from efficientformer.tasks.words import MULTI_LABEL

MOST_NUMBERS = 2**20
"""Logits times factors that are in memory at a time."""


class LabelSets:
    """The `TaskKind` of several labels an image. Labels (B, K) are 1 for the classes of an image and 0 for others;
    targets (B, K, 2) are what counts for a class and what counts against it. The loss of an image is the mean of its
    classes' losses."""

    words = MULTI_LABEL
    eval_batch_size = 250

    def load(self, path: Path, **options: Unpack[LoadOptions]) -> ImageDataset:
        return load_image_folder(path, **options)

    def train_view(self, preprocessing: Preprocessing, augmentation: Augmentation) -> LabelSetView:
        return LabelSetView(train_transform(preprocessing, augmentation))

    def eval_view(self, preprocessing: Preprocessing) -> LabelSetView:
        return LabelSetView(eval_transform(preprocessing))

    def score_view(self, preprocessing: Preprocessing) -> LabelSetView:
        return self.eval_view(preprocessing)

    def task(self, mixing: Mixing) -> MultiLabel:
        return MultiLabel(mixing)

    def mixing(
        self, images: ImageSplit, label_smoothing: float, *, is_weighted: bool, mixup: float = 0.0, cutmix: float = 0.0
    ) -> Mixing:
        counts = images.num_images_per_class()
        shares = [count / len(images) for count in counts]
        weights = binary_weights(counts, len(images)) if is_weighted else None
        return build_label_mixing(mixup, cutmix, shares, label_smoothing, weights)

    def supernet_mixing(
        self, images: ImageSplit, label_smoothing: float, *, is_weighted: bool, mixup: float = 0.0, cutmix: float = 0.0
    ) -> tuple[Mixing, float]:
        return self.mixing(images, label_smoothing, is_weighted=is_weighted, mixup=mixup, cutmix=cutmix), 0.0

    def targets(self, labels: Tensor) -> Tensor:
        return torch.stack([labels, 1 - labels], dim=2)

    def answers(self, logits_BK: Tensor) -> Tensor:
        return self.targets(logits_BK.sigmoid())

    def decisions(self, logits_BK: Tensor) -> Tensor:
        return self.targets((logits_BK > 0).float())

    def loss(
        self, logits_BK: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> Tensor:
        losses_B = binary_losses(logits_BK, targets).mean(dim=1)
        return losses_B.mean() if reduction == "mean" else losses_B.sum()

    def divergence(self, logits_BK: Tensor, taught_BK: Tensor, temperature: float) -> Tensor:
        student_BK, teacher_BK = logits_BK.float() / temperature, taught_BK.float() / temperature
        answers_BK2 = self.answers(teacher_BK)
        entropies_BK = binary_losses(teacher_BK, answers_BK2)
        return temperature**2 * (binary_losses(student_BK, answers_BK2) - entropies_BK).mean()

    def losses_at(self, factors: Tensor, logits_BK: Tensor, labels: Tensor) -> Tensor:
        right_BK = torch.where(labels > 0.5, logits_BK, -logits_BK)
        parts = right_BK.split(max(1, MOST_NUMBERS // (len(factors) * right_BK.shape[1])))
        factors_S11 = factors[:, None, None]
        return torch.cat([functional.softplus(-factors_S11 * part_BK).mean(dim=2) for part_BK in parts], dim=1)

    def comparable(self, network: nn.Module) -> nn.Module:
        return network

    def exported(self, network: nn.Module, grid: Grid) -> tuple[nn.Module, str]:
        return network, LOGITS

    def count(self) -> "PrecisionCount":
        return PrecisionCount()

    def evaluate(
        self, model: nn.Module, batches: Batches, num_classes: int, *, on_batch: Callable[[int], None] | None = None
    ) -> LabelScores:
        return evaluate(model, batches, on_batch=on_batch)


class PrecisionCount:
    """Mean average precision over batches: a `Count`. Until the last image is known it may still be anything."""

    def __init__(self) -> None:
        self._logits, self._labels = list[Tensor](), list[Tensor]()

    def add(self, logits_BK: Tensor, labels: Tensor) -> None:
        self._logits.append(logits_BK)
        self._labels.append(labels)

    def best(self, num_left: int) -> float:
        return 100.0 if num_left else label_scores(torch.cat(self._logits), torch.cat(self._labels)).mean_ap


LABEL_SETS = LabelSets()

"""Images of one class each: cross-entropy, top-1, and the likelihood of the correct class."""

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
from efficientformer.data.loading.loader import View
from efficientformer.data.mixing import Mixing, build_mixing, class_weights
from efficientformer.data.transforms import Preprocessing, eval_transform, train_transform
from efficientformer.tasks.classification.scores import Scores, evaluate
from efficientformer.tasks.classification.task import Classification
from efficientformer.tasks.kind import LOGITS, Batches, Reduction
from efficientformer.tasks.words import CLASSIFICATION

MOST_NUMBERS = 2**20
"""Logits times factors that are in memory at a time."""


class OneLabel:
    """The `TaskKind` of classification. Labels are the numbers (B,) of classes; so are the decisions of a network."""

    words = CLASSIFICATION
    eval_batch_size = 250

    def load(self, path: Path, **options: Unpack[LoadOptions]) -> ImageDataset:
        return load_image_folder(path, **options)

    def train_view(self, preprocessing: Preprocessing, augmentation: Augmentation) -> View:
        return View(train_transform(preprocessing, augmentation))

    def eval_view(self, preprocessing: Preprocessing) -> View:
        return View(eval_transform(preprocessing))

    def score_view(self, preprocessing: Preprocessing) -> View:
        return self.eval_view(preprocessing)

    def task(self, mixing: Mixing) -> Classification:
        return Classification(mixing)

    def mixing(
        self, images: ImageSplit, label_smoothing: float, *, is_weighted: bool, mixup: float = 0.0, cutmix: float = 0.0
    ) -> Mixing:
        weights = class_weights(images.num_images_per_class()) if is_weighted else None
        return build_mixing(mixup, cutmix, len(images.classes), label_smoothing, weights)

    def supernet_mixing(
        self, images: ImageSplit, label_smoothing: float, *, is_weighted: bool, mixup: float = 0.0, cutmix: float = 0.0
    ) -> tuple[Mixing | None, float]:
        if is_weighted:  # the loss would not weight what it smooths
            return self.mixing(images, label_smoothing, is_weighted=True, mixup=mixup, cutmix=cutmix), 0.0
        if mixup or cutmix:
            return self.mixing(images, 0.0, is_weighted=False, mixup=mixup, cutmix=cutmix), label_smoothing
        return None, label_smoothing

    def targets(self, labels: Tensor) -> Tensor:
        return labels

    def answers(self, logits_BK: Tensor) -> Tensor:
        return logits_BK.softmax(dim=1)

    def decisions(self, logits_BK: Tensor) -> Tensor:
        return logits_BK.argmax(dim=1)

    def loss(
        self, logits_BK: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> Tensor:
        return functional.cross_entropy(logits_BK, targets, label_smoothing=label_smoothing, reduction=reduction)

    def divergence(self, logits_BK: Tensor, taught_BK: Tensor, temperature: float) -> Tensor:
        student_BK, teacher_BK = (logits.div(temperature).log_softmax(dim=1) for logits in (logits_BK, taught_BK))
        divergence = functional.kl_div(student_BK, teacher_BK, reduction="batchmean", log_target=True)
        return temperature**2 * divergence

    def losses_at(self, factors: Tensor, logits_BK: Tensor, labels: Tensor) -> Tensor:
        behind_BK = logits_BK - logits_BK.gather(1, labels[:, None])
        parts = behind_BK.split(max(1, MOST_NUMBERS // (len(factors) * behind_BK.shape[1])))
        return torch.cat([(factors[:, None, None] * part_BK).logsumexp(dim=2) for part_BK in parts], dim=1)

    def comparable(self, network: nn.Module) -> nn.Module:
        return network

    def exported(self, network: nn.Module, grid: Grid) -> tuple[nn.Module, str]:
        return network, LOGITS

    def count(self) -> "RightCount":
        return RightCount()

    def evaluate(
        self, model: nn.Module, batches: Batches, num_classes: int, *, on_batch: Callable[[int], None] | None = None
    ) -> Scores:
        return evaluate(model, batches, num_classes, on_batch=on_batch)


class RightCount:
    """Top-1 over batches: a `Count`."""

    def __init__(self) -> None:
        self._num_images = self._num_right = 0

    def add(self, logits_BK: Tensor, labels: Tensor) -> None:
        self._num_images += len(labels)
        self._num_right += int((logits_BK.argmax(dim=1) == labels).sum())

    def best(self, num_left: int) -> float:
        return 100 * (self._num_right + num_left) / (self._num_images + num_left)


ONE_LABEL = OneLabel()

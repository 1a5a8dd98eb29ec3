"""Images with boxes around their objects: the one-stage loss, average precision, likelihood by the loss of an image."""

from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from efficientformer.arch.resolution import Grid
from efficientformer.data.augmentation import Augmentation
from efficientformer.data.boxes.joint import eval_boxes_transform, score_boxes_transform, train_boxes_transform
from efficientformer.data.boxes.load import load_boxes
from efficientformer.data.dataset import ImageDataset, ImageSplit, LoadOptions
from efficientformer.data.mixing import Mixing, refuse_mixing
from efficientformer.data.transforms import Preprocessing
from efficientformer.models.heads.decoding import DETECTIONS, Detector
from efficientformer.models.heads.one_stage import split_outputs
from efficientformer.tasks.detection.assignment import assign
from efficientformer.tasks.detection.loss import Dense, at_factors, of_answers, of_boxes, parts_of_loss
from efficientformer.tasks.detection.precision import require_scoring
from efficientformer.tasks.detection.scores import BoxCount, BoxScores, evaluate
from efficientformer.tasks.detection.task import Detection
from efficientformer.tasks.detection.view import BoxView
from efficientformer.tasks.kind import Batches, Reduction
from efficientformer.tasks.words import DETECTION

ROW = 5
"""Numbers of a row of labels. Answers of another network have more: at least 4 distances, a centrality and a class."""


class Boxes:
    """The `TaskKind` of detection. Labels (B, N, 5) are boxes, see `data.boxes.joint`; outputs (B, A, D) those of a
    one-stage head. Targets are boxes, or the answers of another network (B, A, D) with probabilities for logits.

    The loss of an image is over its own boxes, that of a batch over all boxes of the batch, as published.
    """

    words = DETECTION
    eval_batch_size = 32

    def load(self, path: Path, **options: Unpack[LoadOptions]) -> ImageDataset:
        require_scoring()
        return load_boxes(path, **options)

    def train_view(self, preprocessing: Preprocessing, augmentation: Augmentation) -> BoxView:
        return BoxView(train_boxes_transform(preprocessing, augmentation))

    def eval_view(self, preprocessing: Preprocessing) -> BoxView:
        return BoxView(eval_boxes_transform(preprocessing))

    def score_view(self, preprocessing: Preprocessing) -> BoxView:
        return BoxView(score_boxes_transform(preprocessing))

    def task(self, mixing: Mixing) -> Detection:
        return Detection()

    def mixing(
        self, images: ImageSplit, label_smoothing: float, *, is_weighted: bool, mixup: float = 0.0, cutmix: float = 0.0
    ) -> Mixing:
        refuse_mixing("boxes", is_weighted, mixup, cutmix)
        return lambda images_BCHW, boxes_BN5: (images_BCHW, boxes_BN5)

    def supernet_mixing(
        self, images: ImageSplit, label_smoothing: float, *, is_weighted: bool, mixup: float = 0.0, cutmix: float = 0.0
    ) -> tuple[Mixing | None, float]:
        refuse_mixing("boxes", is_weighted, mixup, cutmix)
        return None, 0.0

    def targets(self, labels: Tensor) -> Tensor:
        return labels

    def answers(self, logits_BK: Tensor) -> Tensor:
        distances, centrality, classes = split_outputs(logits_BK)
        return torch.cat([distances, centrality.sigmoid()[..., None], classes.sigmoid()], dim=2)

    def decisions(self, logits_BK: Tensor) -> Tensor:
        distances, centrality, classes = split_outputs(logits_BK)
        return torch.cat([distances, centrality.sigmoid()[..., None], (classes > 0).float()], dim=2)

    def loss(
        self, logits_BK: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> Tensor:
        parts = parts_of_loss(logits_BK, _dense(logits_BK, targets))
        return parts.of_batch() if reduction == "mean" else parts.per_image().sum()

    def divergence(self, logits_BK: Tensor, taught_BK: Tensor, temperature: float) -> Tensor:
        """Boxes have no temperature: they are compared as they are, where the teacher is sure."""
        targets = of_answers(self.answers(taught_BK))
        _, centrality_BA, classes_BAK = split_outputs(logits_BK)
        _, taught_centrality_BA, taught_classes_BAK = split_outputs(taught_BK)
        classes_BA = _divergences(classes_BAK, taught_classes_BAK, temperature).sum(dim=2)
        centrality_BA = _divergences(centrality_BA, taught_centrality_BA, temperature) * targets.counts
        by_cell = (classes_BA + centrality_BA).sum() / targets.counts.sum().clamp(min=1)
        boxes = parts_of_loss(logits_BK, targets)
        return temperature**2 * by_cell + boxes.boxes.sum() / boxes.weight.sum().clamp(min=1e-6)

    def losses_at(self, factors: Tensor, logits_BK: Tensor, labels: Tensor) -> Tensor:
        return at_factors(factors, logits_BK, _dense(logits_BK, labels))

    def comparable(self, network: nn.Module) -> nn.Module:
        return network

    def exported(self, network: nn.Module, grid: Grid) -> tuple[nn.Module, str]:
        return Detector(network, grid), DETECTIONS

    def count(self) -> BoxCount:
        return BoxCount()

    def evaluate(
        self, model: nn.Module, batches: Batches, num_classes: int, *, on_batch: Callable[[int], None] | None = None
    ) -> BoxScores:
        return evaluate(model, batches, num_classes, on_batch=on_batch)


def _dense(outputs_BAD: Tensor, targets: Tensor) -> Dense:
    if targets.shape[2] != ROW:
        return of_answers(targets)
    return of_boxes(assign(targets, outputs_BAD.shape[1]), outputs_BAD.shape[2] - ROW)


def _divergences(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergences of two answers, yes or no."""
    share = (taught / temperature).sigmoid()
    entropy = binary_cross_entropy_with_logits(taught / temperature, share, reduction="none")
    return binary_cross_entropy_with_logits(logits / temperature, share, reduction="none") - entropy


BOXES = Boxes()

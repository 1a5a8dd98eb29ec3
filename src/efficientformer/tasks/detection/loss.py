"""The loss of a detector: focal loss of classes, GIoU of boxes, cross-entropy of centrality, a number each per image.

Classes are compared at every cell that is judged; boxes and centrality at the cells that have a box, which count by
their centrality. Everything is divided by the number of such cells, or by one where there is none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from efficientformer.models.heads.one_stage import split_outputs
from efficientformer.tasks.detection.assignment import NOT_JUDGED, Assigned

ALPHA, GAMMA = 0.25, 2.0
"""Of the focal loss (Lin et al., 2017)."""


@dataclass(frozen=True)
class Dense:
    """Targets of all cells, from boxes or from another network.

    distances (B, A, 4). centrality (B, A), classes (B, A, K): probabilities. weights (B, A): of boxes. judged (B, A): 0
    for cells whose classes are not compared. counts (B, A): how far a cell has a box, from 0 to 1.
    """

    distances: Tensor
    centrality: Tensor
    classes: Tensor
    weights: Tensor
    judged: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Parts:
    """Sums (B) over the cells of each image, and what they are divided by: the cells with a box, and the weights of
    their boxes."""

    classes: Tensor
    centrality: Tensor
    boxes: Tensor
    num_cells: Tensor
    weight: Tensor

    def per_image(self) -> Tensor:
        """The loss of each image over its own boxes."""
        by_cell = (self.classes + self.centrality) / self.num_cells.clamp(min=1)
        return by_cell + self.boxes / self.weight.clamp(min=1e-6)

    def of_batch(self) -> Tensor:
        """The loss over the boxes of the whole batch."""
        by_cell = (self.classes + self.centrality).sum(dim=-1) / self.num_cells.sum().clamp(min=1)
        return by_cell + self.boxes.sum() / self.weight.sum().clamp(min=1e-6)


def of_boxes(assigned: Assigned, num_classes: int) -> Dense:
    classes_BA = assigned.classes
    has_box_BA = (classes_BA >= 0).float()
    classes_BAK = one_hot(classes_BA.clamp(min=0), num_classes) * has_box_BA[:, :, None]
    is_judged_BA = (classes_BA != NOT_JUDGED).float()
    return Dense(
        assigned.distances,
        assigned.centrality,
        classes_BAK,
        assigned.centrality,
        is_judged_BA,
        has_box_BA,
    )


def of_answers(answers_BAD: Tensor) -> Dense:
    """Targets that another network gives: distances, and probabilities in place of logits. A cell has a box as far as
    the network is sure of some class."""
    distances_BA4, centrality_BA, classes_BAK = split_outputs(answers_BAD)
    sureness_BA = classes_BAK.amax(dim=2)
    return Dense(
        distances_BA4,
        centrality_BA,
        classes_BAK,
        sureness_BA * centrality_BA,
        torch.ones_like(sureness_BA),
        sureness_BA,
    )


def parts_of_loss(outputs_BAD: Tensor, targets: Dense) -> Parts:
    distances_BA4, centrality_BA, classes_BAK = split_outputs(outputs_BAD)
    boxes_BA = 1 - giou(distances_BA4, targets.distances)
    return Parts(
        (focal(classes_BAK, targets.classes) * targets.judged).sum(dim=-1),
        centrality_loss(centrality_BA, targets),
        (boxes_BA * targets.weights).sum(dim=1),
        targets.counts.sum(dim=1),
        targets.weights.sum(dim=1),
    )


def centrality_loss(logits_BA: Tensor, targets: Dense) -> Tensor:
    """Binary cross-entropy (B) of the cells that have a box."""
    centrality_BA = targets.centrality.expand_as(logits_BA)
    losses_BA = binary_cross_entropy_with_logits(logits_BA, centrality_BA, reduction="none")
    return (losses_BA * targets.counts).sum(dim=-1)


def focal(logits_BAK: Tensor, targets_BAK: Tensor) -> Tensor:
    """Focal losses (B, A), summed over classes. Of targets between 0 and 1, such as another network's probabilities, it
    is least where both agree (Li et al., 2020); of others it is the focal loss as published."""
    targets_BAK = targets_BAK.expand_as(logits_BAK).to(logits_BAK.dtype)
    entropies_BAK = binary_cross_entropy_with_logits(logits_BAK, targets_BAK, reduction="none")
    alpha_BAK = ALPHA * targets_BAK + (1 - ALPHA) * (1 - targets_BAK)
    return (alpha_BAK * (logits_BAK.sigmoid() - targets_BAK).abs() ** GAMMA * entropies_BAK).sum(dim=-1)


def giou(distances_BA4: Tensor, others_BA4: Tensor) -> Tensor:
    """Generalized intersection over union (B, A) of boxes around the same center, by their distances to the sides
    (Rezatofighi et al., 2019): from -1 to 1."""
    own, other = _area(distances_BA4), _area(others_BA4)
    common = _area(distances_BA4.minimum(others_BA4).clamp(min=0))
    hull = _area(distances_BA4.maximum(others_BA4)).clamp(min=1e-6)
    union = (own + other - common).clamp(min=1e-6)
    return common / union - (hull - union) / hull


def _area(distances_BA4: Tensor) -> Tensor:
    left, top, right, bottom = distances_BA4.unbind(dim=-1)
    return (left + right) * (top + bottom)


def at_factors(factors: Tensor, outputs_BAD: Tensor, targets: Dense) -> Tensor:
    """Losses (S, B) of each image where logits are multiplied by each of S factors; boxes stay as they are."""
    _, centrality_BA, classes_BAK = split_outputs(outputs_BAD)
    plain = parts_of_loss(outputs_BAD, targets)
    losses = []
    for factor in factors.tolist():
        scaled = Parts(
            (focal(factor * classes_BAK, targets.classes) * targets.judged).sum(dim=-1),
            centrality_loss(factor * centrality_BA, targets),
            plain.boxes,
            plain.num_cells,
            plain.weight,
        )
        losses.append(scaled.per_image())
    return torch.stack(losses)

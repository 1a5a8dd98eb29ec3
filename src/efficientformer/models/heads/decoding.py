"""From outputs of the network to boxes with classes and scores."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from efficientformer.arch.dense import OneStage
from efficientformer.arch.resolution import Grid
from efficientformer.models.heads.cells import cells_of
from efficientformer.models.heads.one_stage import split_outputs

OVERLAP = 0.6
"""The intersection over union with a better box of the same class beyond which a box is dropped."""
NO_CLASS = -1.0
DETECTIONS, NUMBERS = "detections", 6
"""The output of an exported detector, and the numbers of its rows."""


@dataclass(frozen=True)
class Detections:
    """Boxes of an image, best first: boxes (N, 4) as x1, y1, x2, y2 in pixels of the input, scores (N) from 0 to 1,
    classes (N) int64."""

    boxes: Tensor
    scores: Tensor
    classes: Tensor


def decode(outputs_BAD: Tensor, grid: Grid) -> list[Detections]:
    """At most `OneStage.detections` of each image, of an input of `grid` (height, width). Boxes end at its border."""
    boxes_BA4, scores_BAK = boxes_and_scores(outputs_BAD, grid)
    return [_kept(*of_image) for of_image in zip(boxes_BA4, scores_BAK, strict=True)]


def boxes_and_scores(outputs_BAD: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Boxes (B, A, 4), and scores (B, A, K): the geometric mean of the probabilities of class and centrality."""
    distances_BA4, centrality_BA, classes_BAK = split_outputs(outputs_BAD)
    points_A2 = cells_of(grid, outputs_BAD.shape[1], str(outputs_BAD.device)).points
    low_BA2 = (points_A2 - distances_BA4[..., :2]).clamp(min=0)
    high_BA2 = (points_A2 + distances_BA4[..., 2:]).minimum(points_A2.new_tensor([grid[1], grid[0]]))
    scores_BAK = (classes_BAK.sigmoid() * centrality_BA.sigmoid()[..., None]).sqrt()
    return torch.cat([low_BA2, high_BA2], dim=2), scores_BAK


def _kept(boxes_A4: Tensor, scores_AK: Tensor) -> Detections:
    from torchvision.ops import batched_nms  # takes longer to import than torch

    num_classes = scores_AK.shape[1]
    scores_N, chosen_N = scores_AK.flatten().topk(min(OneStage.candidates, scores_AK.numel()))
    classes_N = chosen_N % num_classes
    boxes_N4 = boxes_A4[torch.div(chosen_N, num_classes, rounding_mode="floor")]
    kept_N = batched_nms(boxes_N4, scores_N, classes_N, OVERLAP)[: OneStage.detections]
    return Detections(boxes_N4[kept_N], scores_N[kept_N], classes_N[kept_N])


def from_rows(rows_BN6: Tensor) -> list[Detections]:
    """Detections of each image, from the rows that a `Detector` gives."""
    of_images = [rows_N6[rows_N6[:, 5] > NO_CLASS] for rows_N6 in rows_BN6]
    return [Detections(rows_N6[:, :4], rows_N6[:, 4], rows_N6[:, 5].long()) for rows_N6 in of_images]


class Detector(nn.Module):
    """A network with decoding behind it, as it is exported: one image (1, 3, H, W) of the network's input to
    detections (1, 100, 6), rows of x1, y1, x2, y2 in its pixels, score, class; best first. Rows that are left over have
    the score 0 and the class -1."""

    def __init__(self, network: nn.Module, grid: Grid) -> None:
        super().__init__()
        self.network, self.grid = network, grid

    def forward(self, x_1CHW: Tensor) -> Tensor:
        return as_rows(self.network(x_1CHW), self.grid)


def as_rows(outputs_1AD: Tensor, grid: Grid) -> Tensor:
    """Outputs of one image of `grid` (height, width) as the rows of a `Detector`, always as many."""
    boxes_BA4, scores_BAK = boxes_and_scores(outputs_1AD, grid)
    kept = _kept(boxes_BA4[0], scores_BAK[0])
    rows_N6 = torch.cat([kept.boxes, kept.scores[:, None], kept.classes[:, None].float()], dim=1)
    left_over_M6 = pad(rows_N6.new_full((OneStage.detections, 1), NO_CLASS), (5, 0))
    return torch.cat([rows_N6, left_over_M6])[: OneStage.detections].reshape(1, OneStage.detections, NUMBERS)

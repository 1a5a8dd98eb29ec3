"""Which cells learn which boxes: those near the center of the box, on the level of its size."""

from dataclasses import dataclass

import torch
from torch import Tensor

from efficientformer.arch.resolution import Grid
from efficientformer.data.boxes.joint import FRAME, IGNORED
from efficientformer.models.heads.cells import Cells, cells_of

BACKGROUND, NOT_JUDGED = -1, -2
RADIUS, LEAST_HALF = 1.5, 0.75
"""In cells: how far from the center of a box a cell may learn it; half of the side that a smaller box is taken to have
here, so that the center of at least one cell lies in every box."""


@dataclass(frozen=True)
class Assigned:
    """What every cell learns.

    classes (B, A): the number of its class, BACKGROUND, or NOT_JUDGED in crowds.
    distances (B, A, 4): left, top, right, bottom from the cell's center to the sides of its box, in pixels.
    centrality (B, A): 1 in the middle of the box, towards 0 at its sides (FCOS's centerness); 0 without a box.
    """

    classes: Tensor
    distances: Tensor
    centrality: Tensor


def grid_of_frames(boxes_BN5: Tensor) -> Grid:
    """Height and width of the input, from the first row of the labels."""
    number, *corner, width, height = boxes_BN5[0, 0, :5].tolist() if boxes_BN5.shape[1] else [0.0] * 5
    if (number, *corner) != (FRAME, 0, 0) or min(width, height) < 1:
        raise ValueError("the first row of boxes must be the frame of the input")
    return int(height), int(width)


def assign(boxes_BN5: Tensor, num_cells: int) -> Assigned:
    """The targets of `num_cells` cells for labels as the loader gives them."""
    cells = cells_of(grid_of_frames(boxes_BN5), num_cells, str(boxes_BN5.device))
    of_images = [_assign(boxes_N5, cells) for boxes_N5 in boxes_BN5]
    classes, distances, centralities = zip(*of_images, strict=True)
    return Assigned(torch.stack(classes), torch.stack(distances), torch.stack(centralities))


def _assign(boxes_N5: Tensor, cells: Cells) -> tuple[Tensor, Tensor, Tensor]:
    ignored_M4, rows_M5 = boxes_N5[boxes_N5[:, 0] <= IGNORED, 1:], boxes_N5[boxes_N5[:, 0] >= 0]
    points_A2, stride_A1 = cells.points, cells.strides[:, None]
    classes_A = torch.full_like(cells.strides, BACKGROUND, dtype=torch.int64)
    classes_A[_in_any(points_A2, ignored_M4)] = NOT_JUDGED
    distances_A4, centrality_A = points_A2.new_zeros(len(points_A2), 4), torch.zeros_like(cells.strides)
    if not len(rows_M5):
        return classes_A, distances_A4, centrality_A
    low_M2, high_M2 = rows_M5[:, 1:3], rows_M5[:, 3:5]
    sides_M2 = high_M2 - low_M2
    offset_AM2 = (points_A2[:, None] - (low_M2 + high_M2) / 2).abs()
    half_AM2 = (sides_M2 / 2).maximum(LEAST_HALF * stride_A1[:, None])
    longer_M = sides_M2.amax(dim=1)
    is_of_level_AM = (longer_M > cells.least[:, None]) & (longer_M <= cells.most[:, None])
    is_near_AM = ((offset_AM2 < half_AM2) & (offset_AM2 < RADIUS * stride_A1[:, None])).all(dim=2)
    # Of several boxes a cell learns the smallest: what is in front of a larger object.
    areas_AM = sides_M2.prod(dim=1).where(is_of_level_AM & is_near_AM, torch.inf)
    area_A, chosen_A = areas_AM.min(dim=1)
    is_taken_A = area_A.isfinite()
    chosen_A = chosen_A[is_taken_A]
    classes_A[is_taken_A] = rows_M5[chosen_A, 0].long()
    points_T2 = points_A2[is_taken_A]
    sides_T4 = torch.cat([points_T2 - low_M2[chosen_A], high_M2[chosen_A] - points_T2], dim=1)
    # A cell whose center lies beside a box smaller than itself learns the box and its center together.
    distances_A4[is_taken_A] = sides_T4.clamp(min=0)
    offset_T2, half_T2 = offset_AM2[is_taken_A, chosen_A], half_AM2[is_taken_A, chosen_A]
    centrality_A[is_taken_A] = ((half_T2 - offset_T2) / (half_T2 + offset_T2)).prod(dim=1).sqrt()
    return classes_A, distances_A4, centrality_A


def _in_any(points_A2: Tensor, boxes_M4: Tensor) -> Tensor:
    """Whether each point lies in one of the boxes."""
    is_in_AM2 = (points_A2[:, None] > boxes_M4[:, :2]) & (points_A2[:, None] < boxes_M4[:, 2:])
    return is_in_AM2.all(dim=2).any(dim=1)

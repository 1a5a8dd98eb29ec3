"""Boxes and masks in two stages (Mask R-CNN, He et al., 2017; the paper's section 5.2), from torchvision's parts."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad

from efficientformer.arch.dense import MASK_SIDE, MOST_OBJECTS, MaskRcnn
from efficientformer.arch.resolution import Grid
from efficientformer.models.heads.fpn import Fpn

Labels = Sequence[Mapping[str, Tensor]]
NO_CLASS = -1.0
FACTS = 6
"""Numbers of an object in front of its mask."""
NUMBERS = FACTS + MASK_SIDE**2


class MaskRcnnHead(nn.Module):
    """Maps (B, C, H, W) of the four stages to objects (B, 100, 6 + 28 * 28): rows of x1, y1, x2, y2 in pixels of the
    image, score, class, and the probabilities of the mask's cells in the box, row by row; best first. Rows that are
    left over have the score 0 and the class -1.

    Training calls `losses` instead.

    widths: of the stages. stride: of the finest level.
    """

    def __init__(self, head: MaskRcnn, widths: Sequence[int], num_classes: int, stride: int) -> None:
        super().__init__()
        from efficientformer.models.heads.regions import build_boxes_and_masks, build_proposals  # torchvision: seconds

        strides = [stride * 2**level for level in range(len(widths) + 1)]
        self.fpn = Fpn(widths, head.fpn_width)
        self.rpn = build_proposals(head, strides)
        self.roi_heads = build_boxes_and_masks(head, num_classes, strides[:-1])

    def forward(self, maps: list[Tensor], grid: Grid) -> Tensor:
        """`grid` is the height and width of the image. In evaluation mode."""
        pyramid, images = self._pyramid(maps), _images(maps, grid)
        proposals, _ = self.rpn(images, pyramid)
        found, _ = self.roi_heads(pyramid, proposals, images.image_sizes)
        return torch.stack([_rows(of_image) for of_image in found])

    def losses(self, maps: list[Tensor], grid: Grid, labels: Labels) -> dict[str, Tensor]:
        """Losses of a batch by name: of the proposals `loss_objectness` and `loss_rpn_box_reg`, of the second stage
        `loss_classifier`, `loss_box_reg` and `loss_mask`. In training mode.

        labels: of each image `boxes` (N, 4) in its pixels, `labels` (N,) from 1, and `masks` (N, H, W) of 0 and 1.
        """
        pyramid, images, objects = self._pyramid(maps), _images(maps, grid), [dict(of_image) for of_image in labels]
        proposals, of_proposals = self.rpn(images, pyramid, objects)
        _, of_objects = self.roi_heads(pyramid, proposals, images.image_sizes, objects)
        return {**of_proposals, **of_objects}

    def at_boxes(self, maps: list[Tensor], grid: Grid) -> Tensor:
        """What the layers compute where nothing is chosen, for one image (1, N, 1): objectness and shifts of all cells,
        and classes, shifts and mask logits of fixed boxes. Two forms of a network can be compared by it, since a
        rounding error cannot turn a choice."""
        pyramid, sizes = self._pyramid(maps), [grid]
        objectness, shifts = self.rpn.head(list(pyramid.values()))
        boxes, regions = [_spread(grid).to(maps[0])], cast(Any, self.roi_heads)
        cells = regions.box_roi_pool(pyramid, boxes, sizes)
        outputs = [*objectness, *shifts, *regions.box_predictor(regions.box_head(cells))]
        cells = regions.mask_roi_pool(pyramid, boxes, sizes)
        outputs.append(regions.mask_predictor(regions.mask_head(cells)))
        return torch.cat([output.reshape(1, -1, 1) for output in outputs], dim=1)

    def _pyramid(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """The levels of the pyramid by number, and one more for proposals: every second cell of the coarsest."""
        levels = self.fpn(maps)
        levels.append(max_pool2d(levels[-1], kernel_size=1, stride=2))
        return {str(number): level for number, level in enumerate(levels)}


def _images(maps: list[Tensor], grid: Grid) -> Any:
    """Images as torchvision's parts want them, which only ask for their sizes."""
    from torchvision.models.detection.image_list import ImageList

    batch, sizes = maps[0].shape[0], [grid]
    return ImageList(maps[0][:, :1, :1, :1].expand(batch, 1, *grid), sizes * batch)


def _rows(found: Mapping[str, Tensor]) -> Tensor:
    """What was found in an image, as rows of one number for all images."""
    facts = found["boxes"], found["scores"][:, None], found["labels"][:, None].float() - 1
    rows_NX = torch.cat([*facts, found["masks"].flatten(1)], dim=1)
    left_over = pad(rows_NX.new_full((MOST_OBJECTS, 1), NO_CLASS), (FACTS - 1, NUMBERS - FACTS))
    return torch.cat([rows_NX, left_over])[:MOST_OBJECTS].reshape(MOST_OBJECTS, NUMBERS)


def _spread(grid: Grid) -> Tensor:
    """Boxes (N, 4) of several sizes, from the whole image to a sixteenth of its sides, so that every level has some."""
    height, width = grid
    boxes = []
    for parts in (1, 2, 4, 16):
        for place in range(parts if parts < MOST_OBJECTS else 1):
            left, top = place / parts, (parts - 1 - place) / parts
            boxes.append([left * width, top * height, (left + 1 / parts) * width, (top + 1 / parts) * height])
    return torch.tensor(boxes)

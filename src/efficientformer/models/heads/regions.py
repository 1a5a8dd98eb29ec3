"""The two stages of Mask R-CNN, from torchvision's parts with its defaults.

What decides between boxes is computed in single precision, also where products are not: a box of 1,000 pixels is off by
several of them in half precision. Where cells lie follows from the strides; torchvision's parts guess it from the sizes
of maps, and are off for inputs that are no multiples of 64.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops.poolers import MultiScaleRoIAlign, initLevelMapper

from efficientformer.arch.dense import BOX_SIDE, MASK_DEPTH, MASK_SIDE, MOST_OBJECTS, NUM_ANCHORS, MaskRcnn

ANCHOR_CELLS = 8
"""Side of a level's anchors in its cells: 32 to 512 pixels behind the paper's stem, as usual, and smaller ones behind a
stem for small images."""
ASPECTS = (0.5, 1.0, 2.0)
MOST_SAMPLES = 512
"""Proposals of an image that the second stage learns from."""


def build_proposals(head: MaskRcnn, strides: Sequence[int]) -> RegionProposalNetwork:
    """What proposes boxes, from the levels with these strides. Training proposes twice as many."""
    with torch.device("cpu"):  # they are no parameters, and needed where a network is built without values
        anchors = _Anchors(strides)
    counts = {"training": 2 * head.proposals, "testing": head.proposals}
    return RegionProposalNetwork(
        anchors,
        _Proposing(head.fpn_width, NUM_ANCHORS),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n=counts,
        post_nms_top_n=counts,
        nms_thresh=0.7,
    )


def build_boxes_and_masks(head: MaskRcnn, num_classes: int, strides: Sequence[int]) -> RoIHeads:
    """What classifies the proposals, moves their sides, and finds the masks of the best, from the levels with these
    strides."""
    num_outputs = num_classes + 1
    return RoIHeads(
        box_roi_pool=_pool(strides, BOX_SIDE),
        box_head=TwoMLPHead(head.fpn_width * BOX_SIDE**2, head.box_width),
        box_predictor=_Boxes(head.box_width, num_outputs),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=min(MOST_SAMPLES, head.proposals),
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=MOST_OBJECTS,
        mask_roi_pool=_pool(strides, MASK_SIDE // 2),
        mask_head=MaskRCNNHeads(head.fpn_width, (head.width,) * MASK_DEPTH, 1),
        mask_predictor=_Masks(head.width, head.width, num_outputs),
    )


def _pool(strides: Sequence[int], side: int) -> MultiScaleRoIAlign:
    """Boxes to cells of the level that suits their size."""
    pool = MultiScaleRoIAlign([str(level) for level in range(len(strides))], side, sampling_ratio=2)
    pool.scales = [1 / stride for stride in strides]
    first, last = strides[0].bit_length() - 1, strides[-1].bit_length() - 1
    pool.map_levels = initLevelMapper(first, last, pool.canonical_scale, pool.canonical_level)
    return pool


class _Anchors(AnchorGenerator):
    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__(tuple((ANCHOR_CELLS * stride,) for stride in strides), (ASPECTS,) * len(strides))
        self.strides = list(strides)

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        device = feature_maps[0].device
        self.set_cell_anchors(torch.float32, device)
        strides = [[torch.tensor(stride, device=device)] * 2 for stride in self.strides]
        anchors_A4 = torch.cat(self.grid_anchors([list(map_.shape[-2:]) for map_ in feature_maps], strides))
        return [anchors_A4] * len(image_list.image_sizes)


class _Proposing(RPNHead):
    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        objectness, shifts = super().forward(x)
        return [output.float() for output in objectness], [output.float() for output in shifts]


class _Boxes(FastRCNNPredictor):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, shifts = super().forward(x)
        return scores.float(), shifts.float()


class _Masks(MaskRCNNPredictor):
    def forward(self, input: Tensor) -> Tensor:  # torchvision's name
        return super().forward(input).float()

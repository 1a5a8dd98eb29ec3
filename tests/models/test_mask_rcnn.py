"""Mask R-CNN as the head of any backbone: its cost, its losses, its rows, and what is exported of it."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from efficientformer.arch.cost import network_cost
from efficientformer.arch.dense import MaskRcnn
from efficientformer.arch.head_space import HeadSpace
from efficientformer.arch.parts import network_parts
from efficientformer.arch.spaces import space_below
from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import ArchitectureError
from efficientformer.exporting.onnx import export_onnx
from efficientformer.exporting.parity import onnx_output, onnx_parity
from efficientformer.models.deploy.folding import MapNorm
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.heads.mask_rcnn import NUMBERS, _images, _spread
from efficientformer.models.network import Network
from efficientformer.models.weights.load import load_network, save_weights
from efficientformer.tasks.instance.kind import AtBoxes

from .small import SMALL, SMALL_V2

GRID = 48, 64
HEAD = MaskRcnn(fpn_width=16, width=8, box_width=24, proposals=12)
OF_BOTH = pytest.mark.parametrize("small", [SMALL, SMALL_V2], ids=["v1", "v2"])


def network_of(small, num_classes=3):
    torch.manual_seed(0)
    return Network(replace(small, head=HEAD), num_classes=num_classes, resolution=GRID)


def labels_of(*boxes):
    """Full rectangles of the first class."""
    masks = torch.zeros(len(boxes), *GRID, dtype=torch.uint8)
    for mask_HW, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask_HW[y1:y2, x1:x2] = 1
    numbers = torch.ones(len(boxes), dtype=torch.int64)
    return {"boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), "labels": numbers, "masks": masks}


@OF_BOTH
def test_cost_is_that_of_the_module(small):
    """Operations of the layers at as many fixed boxes as there are proposals, and masks of the objects left to 100."""
    boxes = len(_spread(GRID))
    network = Network(replace(small, head=replace(HEAD, proposals=boxes)), num_classes=3, resolution=GRID).eval()
    cost = network_cost(network.architecture, GRID, 3)
    assert cost.num_params == sum(parameter.numel() for parameter in network.parameters())
    with FlopCounterMode(display=False) as of_all, torch.no_grad():
        AtBoxes(network)(torch.zeros(1, 3, *GRID))
    with FlopCounterMode(display=False) as of_mask, torch.no_grad():
        regions = network.head.roi_heads
        regions.mask_predictor(regions.mask_head(torch.zeros(1, HEAD.fpn_width, 14, 14)))
    assert cost.macs == (of_all.get_total_flops() + (100 - boxes) * of_mask.get_total_flops()) // 2


@OF_BOTH
def test_every_weight_learns_and_an_image_without_objects_is_no_error(small):
    network = network_of(small).train()
    maps = network.forward_normed_maps(torch.randn(2, 3, *GRID))
    losses = network.head.losses(maps, GRID, [labels_of((4, 6, 40, 38), (30, 2, 60, 30)), labels_of()])
    assert set(losses) == {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"}
    torch.stack(list(losses.values())).sum().backward()
    without = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert not without and all(weight.grad.isfinite().all() for weight in network.parameters())
    assert any(isinstance(norm, torch.nn.GroupNorm) for norm in network.output_norms) is (small is SMALL)
    alone = network.head.losses(network.forward_normed_maps(torch.randn(1, 3, *GRID)), GRID, [labels_of()])
    assert alone["loss_mask"].item() == 0 and all(loss.isfinite() for loss in alone.values())


def test_rows_are_the_objects_best_first_and_then_padding():
    network = network_of(SMALL_V2).eval()
    with torch.no_grad():
        rows_BNX = network(torch.randn(2, 3, *GRID))
    assert rows_BNX.shape == (2, 100, NUMBERS)
    for rows_NX in rows_BNX:
        is_object_N = rows_NX[:, 5] >= 0
        count = int(is_object_N.sum())
        assert 0 < count < 100 and is_object_N[:count].all()
        x1, y1, x2, y2, scores, classes = rows_NX[:count, :6].unbind(1)
        assert (scores.diff() <= 0).all() and {*classes.tolist()} <= {0.0, 1.0, 2.0}
        assert (x1 < x2).all() and (y1 < y2).all() and x2.max() <= GRID[1] and y2.max() <= GRID[0]
        assert ((rows_NX[:count, 6:] > 0) & (rows_NX[:count, 6:] < 1)).all()
        assert (rows_NX[count:, 5] == -1).all() and (rows_NX[count:, [0, 1, 2, 3, 4, 6]] == 0).all()


def test_boxes_are_decided_in_single_precision():
    network = network_of(SMALL_V2).eval()
    images = torch.randn(1, 3, *GRID)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        objectness, shifts = network.head.rpn.head([map_ for map_ in network.head.fpn(network.forward_maps(images))])
        rows_BNX = network(images)
    assert {output.dtype for output in (*objectness, *shifts)} == {torch.float32} and rows_BNX.dtype == torch.float32


def test_anchors_follow_the_strides():
    """Behind a stem of stride 4 they are torchvision's, 32 to 512 pixels; behind one of stride 2 half of that."""
    for stem_strides, smallest in (((2, 2), 32), ((2, 1), 16)):
        architecture = replace(SMALL_V2, head=HEAD, stem_strides=stem_strides)
        sizes = Network(architecture, num_classes=1, resolution=GRID).head.rpn.anchor_generator.sizes
        assert sizes == tuple((smallest * 2**level,) for level in range(5))


def test_cells_lie_where_their_strides_say_and_in_single_precision():
    """Also where the coarse maps of an input have half a cell more: torchvision would guess other strides."""
    network = Network(replace(SMALL_V2, head=HEAD), num_classes=1, resolution=(40, 72))
    images, strides = torch.zeros(1, 3, 40, 72), (2, 4, 8, 16, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        pyramid = network.head._pyramid(network.forward_maps(images))
        (anchors_A4,) = network.head.rpn.anchor_generator(
            _images(list(pyramid.values()), (40, 72)), [*pyramid.values()]
        )
    centers_A2 = (anchors_A4[::3, :2] + anchors_A4[::3, 2:]) / 2
    expected = [
        [column * stride, row * stride]
        for stride in strides
        for row in range(-(-40 // stride))
        for column in range(-(-72 // stride))
    ]
    assert anchors_A4.dtype == torch.float32 and centers_A2.tolist() == expected
    for pool in (network.head.roi_heads.box_roi_pool, network.head.roi_heads.mask_roi_pool):
        assert pool.scales == [1 / stride for stride in strides[:-1]]
        levels = pool.map_levels([torch.tensor([[0.0, 0, side, side] for side in (20, 56, 112, 224, 500)])])
        assert levels.tolist() == [0, 1, 2, 3, 3]


def test_a_file_of_weights_gives_the_network_back(tmp_path):
    network = network_of(SMALL_V2).eval()
    save_weights(network, tmp_path / "weights.safetensors")
    again = load_network(tmp_path / "weights.safetensors").eval()
    images = torch.randn(1, 3, *GRID)
    with torch.no_grad():
        assert again.architecture.head == HEAD and torch.equal(again(images), network(images))
    assert Architecture.from_json(network.architecture.to_json()) == network.architecture


def test_deploy_forms_compute_the_same_where_nothing_is_chosen(tmp_path, randomize):
    network, path = network_of(SMALL).eval(), tmp_path / "model.onnx"
    for part in (network.stem, network.stages, network.output_norms):
        randomize(part)
    network.eval()
    deployed = fuse(network)
    assert all(isinstance(norm, MapNorm) for norm in deployed.output_norms)
    export_onnx(AtBoxes(deployed), (1, 3, *GRID), path)
    assert onnx_parity(AtBoxes(network), path, (1, 3, *GRID), num_images=2) <= 1e-3


def test_the_exported_file_finds_what_the_network_does(tmp_path):
    network, path = network_of(SMALL_V2).eval(), tmp_path / "model.onnx"
    export_onnx(fuse(network), (1, 3, *GRID), path, output_name="objects")
    images = torch.randn(1, 3, *GRID)
    with torch.no_grad():
        expected = network(images)
    assert (expected[0, :, 5] >= 0).any()
    torch.testing.assert_close(torch.from_numpy(onnx_output(path, images.numpy())), expected, atol=1e-3, rtol=1e-3)


def test_it_is_in_no_search_and_in_no_table():
    architecture = replace(SMALL_V2, head=HEAD)
    with pytest.raises(ArchitectureError, match="kind is one of semantic_fpn, one_stage, not 'mask_rcnn'"):
        HeadSpace("mask_rcnn", (16,), (16,))
    with pytest.raises(ArchitectureError, match=r"Mask R-CNN .* its second stage depends on the image"):
        network_parts(architecture, 64, 3)
    parent = replace(ZOO["efficientformerv2_s0"], head=HEAD)
    assert space_below("parent", parent).head is None, "a search gives it the head of its task"
    for wrong in ({"fpn_width": 12}, {"proposals": 0}, {"proposals": 2001}, {"box_width": 1032}):
        with pytest.raises(ArchitectureError, match=f"MaskRcnn.{next(iter(wrong))} must be"):
            MaskRcnn(**wrong)

"""Analytic costs: multiply-accumulates, parameters and activations, equal to those of the module they describe.

MACs count convolutions, linear layers and the two matrix products of attention; norms, activation functions and pooling
are not counted, as in the paper's tables. Activations are the outputs of those layers, as timm counts them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from efficientformer.arch.dense import BOX_SIDE, MASK_DEPTH, MASK_SIDE, MOST_OBJECTS, NUM_ANCHORS, NUM_SIDES, MaskRcnn
from efficientformer.arch.parts import Part, body_parts, network_parts, pyramid_parts, stage_grids, strided
from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import MB3D, MHSA, Architecture, DownsampleAttention

BYTES_PER_VALUE = 4
"""In single precision."""


@dataclass(frozen=True)
class Cost:
    macs: int = 0
    num_params: int = 0
    num_activations: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.macs + other.macs,
            self.num_params + other.num_params,
            self.num_activations + other.num_activations,
        )


def part_cost(part: Part) -> Cost:
    """Cost of one part for one image."""
    match part.kind:
        case "stem":
            return _stem_cost(part)
        case "MB4D":
            return _mb4d_cost(part)
        case "MB3D":
            return _mb3d_cost(part)
        case "downsample":
            return _conv_bn_cost(part.in_width, part.width, 3, strided(part.grid))
        case "FFN":
            return _depthwise_mlp_cost(part)
        case "MHSA":
            return _map_attention_cost(part)
        case "attention_downsample":
            return _attention_downsample_cost(part)
        case "head" | "map_head":
            assert part.num_classes is not None
            num_params = 2 * part.width + (part.width + 1) * part.num_classes
            return Cost(part.width * part.num_classes, num_params, part.num_classes)
        case "flatten" | "unflatten" | "detections":
            return Cost()
        case "fpn_level":
            assert part.level is not None
            norm = Cost(0, 2 * part.in_width if part.level.is_normed else 0)
            lateral = _conv_cost(part.in_width, part.width, 1, part.grid)
            return norm + lateral + _conv_cost(part.width, part.width, 3, part.grid)
        case "fpn_further":
            return _conv_cost(part.in_width, part.width, 3, strided(part.grid))
        case "semantic_level":
            return _semantic_level_cost(part)
        case "semantic_classes":
            assert part.num_classes is not None
            return _conv_cost(part.width, part.num_classes, 1, part.grid)
        case "box_level":
            return _box_level_cost(part)
        case _:
            assert_never(part.kind)


def weights_mib(parts: Iterable[Part]) -> float:
    """Size of the parts' weights in single precision."""
    return sizes_mib(parts)[0]


def sizes_mib(parts: Iterable[Part]) -> tuple[float, float]:
    """Size of the parts' weights, and of all their activations for one image, in single precision."""
    costs = [part_cost(part) for part in parts]
    counts = sum(cost.num_params for cost in costs), sum(cost.num_activations for cost in costs)
    return counts[0] * BYTES_PER_VALUE / 2**20, counts[1] * BYTES_PER_VALUE / 2**20


def network_cost(
    architecture: Architecture, resolution: int | Grid, num_classes: int, *, has_distillation_head: bool = False
) -> Cost:
    """Cost of one forward pass on one image; parameters include those of batch norm. Of Mask R-CNN it is that of an
    image with as many proposals and objects as there may be."""
    head = architecture.head
    if isinstance(head, MaskRcnn):
        grids = stage_grids(architecture.stem_strides, resolution)
        parts = [*body_parts(architecture, resolution), *pyramid_parts(architecture, head, grids)]
        return sum((part_cost(part) for part in parts), _regions_cost(head, grids, num_classes))
    parts = network_parts(architecture, resolution, num_classes)
    total = sum((part_cost(part) for part in parts), Cost())
    if has_distillation_head:
        width = architecture.stages[-1].width
        total += Cost(width * num_classes, (width + 1) * num_classes, num_classes)
    return total


def _conv_bn_cost(in_width: int, width: int, kernel: int, out_grid: Grid) -> Cost:
    """A depth-wise convolution has an `in_width` of 1."""
    weights, positions = in_width * width * kernel * kernel, out_grid[0] * out_grid[1]
    return Cost(weights * positions, weights + width + 2 * width, width * positions)


def _conv_cost(in_width: int, width: int, kernel: int, out_grid: Grid) -> Cost:
    """Without a batch norm."""
    return _conv_bn_cost(in_width, width, kernel, out_grid) + Cost(0, -2 * width)


def _semantic_level_cost(part: Part) -> Cost:
    """Each convolution works on the map that the one before was enlarged to."""
    assert part.level is not None and part.level.out_grid is not None
    grids = [part.level.out_grid]
    while len(grids) <= part.level.number:
        grids.append(strided(grids[-1]))
    total, in_width = Cost(), part.in_width
    for grid in reversed(grids[min(1, part.level.number) :]):
        total += _conv_bn_cost(in_width, part.width, 3, grid)
        in_width = part.width
    return total


def _box_level_cost(part: Part) -> Cost:
    """All levels share the convolutions: their parameters are counted at the first. Each has a scale of its own."""
    assert part.level is not None and part.num_classes is not None
    total, in_width = Cost(), part.in_width
    for _ in range(part.level.depth):
        total += _conv_bn_cost(in_width, part.width, 3, part.grid) + _conv_bn_cost(in_width, part.width, 3, part.grid)
        in_width = part.width
    total += _conv_cost(in_width, 5, 3, part.grid) + _conv_cost(in_width, part.num_classes, 3, part.grid)
    return replace(total, num_params=1 + (total.num_params if part.level.number == 0 else 0))


def _regions_cost(head: MaskRcnn, grids: Sequence[Grid], num_classes: int) -> Cost:
    """What is behind the pyramid: proposals of all levels, which share their convolutions, boxes, and masks."""
    total, levels = Cost(), [*grids, strided(grids[-1])]
    for grid in levels:
        at_level = _conv_cost(head.fpn_width, head.fpn_width, 3, grid)
        at_level += _conv_cost(head.fpn_width, NUM_ANCHORS * (1 + NUM_SIDES), 1, grid)
        total += replace(at_level, num_params=at_level.num_params if grid is levels[0] else 0)
    num_outputs, one = num_classes + 1, (1, 1)  # the first is that of no object
    boxes = _conv_cost(BOX_SIDE**2 * head.fpn_width, head.box_width, 1, one)
    boxes += _conv_cost(head.box_width, head.box_width, 1, one)
    boxes += _conv_cost(head.box_width, num_outputs * (1 + NUM_SIDES), 1, one)
    inner, outer = (MASK_SIDE // 2, MASK_SIDE // 2), (MASK_SIDE, MASK_SIDE)
    masks, in_width = Cost(), head.fpn_width
    for _ in range(MASK_DEPTH):
        masks += _conv_cost(in_width, head.width, 3, inner)
        in_width = head.width
    # A transposed convolution of 2x2 cells: each output comes from one input.
    larger = _conv_cost(head.width, head.width, 2, inner)
    masks += replace(larger, num_activations=4 * larger.num_activations)
    masks += _conv_cost(head.width, num_outputs, 1, outer)
    return total + _times(boxes, head.proposals) + _times(masks, MOST_OBJECTS)


def _times(cost: Cost, count: int) -> Cost:
    """The same weights `count` times."""
    return Cost(count * cost.macs, cost.num_params, count * cost.num_activations)


def _stem_cost(part: Part) -> Cost:
    """Widths double from one convolution to the next."""
    assert part.strides is not None
    total, grid, in_width = Cost(), part.grid, part.in_width
    for index, stride in enumerate(part.strides, start=1):
        grid, width = strided(grid, stride), part.width >> (len(part.strides) - index)
        total += _conv_bn_cost(in_width, width, 3, grid)
        in_width = width
    return total


def _mb4d_cost(part: Part) -> Cost:
    hidden = part.width * part.expansion
    layer_scales = Cost(0, 2 * part.width)
    return (
        _conv_bn_cost(part.width, hidden, 1, part.grid) + _conv_bn_cost(hidden, part.width, 1, part.grid) + layer_scales
    )


def _mb3d_cost(part: Part) -> Cost:
    block = part.block
    assert isinstance(block, MB3D)
    tokens, width = part.grid[0] * part.grid[1], part.width
    hidden = width * block.mlp_ratio
    qkv = block.num_heads * (2 * block.key_dim + block.value_dim)
    mixed = block.num_heads * block.value_dim
    linear = width * qkv + mixed * width + 2 * width * hidden
    attention = block.num_heads * tokens * tokens * (block.key_dim + block.value_dim)
    biases = qkv + width + hidden + width
    norms_and_scales = 4 * width + 2 * width
    activations = tokens * (qkv + mixed + 2 * width + hidden) + block.num_heads * tokens * tokens
    num_params = linear + biases + norms_and_scales + block.num_heads * tokens
    return Cost(tokens * linear + attention, num_params, activations)


def _depthwise_mlp_cost(part: Part) -> Cost:
    hidden = part.width * part.expansion
    return (
        _conv_bn_cost(part.width, hidden, 1, part.grid)
        + _conv_bn_cost(1, hidden, 3, part.grid)
        + _conv_bn_cost(hidden, part.width, 1, part.grid)
        + Cost(0, part.width)
    )


def _map_attention_cost(part: Part) -> Cost:
    block = part.block
    assert isinstance(block, MHSA)
    grid = strided(part.grid, block.stride)
    tokens, heads = grid[0] * grid[1], block.num_heads
    keys, values = heads * block.key_dim, heads * block.value_dim
    scores = heads * tokens * tokens
    total = Cost(scores * (block.key_dim + block.value_dim), heads * tokens, scores + tokens * values)
    if block.stride > 1:
        total += _conv_bn_cost(1, part.width, 3, grid)
    total += _conv_bn_cost(part.width, 2 * keys + values, 1, grid) + _conv_bn_cost(1, values, 3, grid)
    talking_head = Cost(heads * scores, heads * heads + heads, scores)
    return total + talking_head + talking_head + _conv_bn_cost(values, part.width, 1, part.grid) + Cost(0, part.width)


def _attention_downsample_cost(part: Part) -> Cost:
    attention, grid = DownsampleAttention(), strided(part.grid)
    queries, tokens, heads = grid[0] * grid[1], part.grid[0] * part.grid[1], attention.num_heads
    keys, values = heads * attention.key_dim, heads * attention.value_dim
    scores = heads * queries * tokens
    return (
        Cost(scores * (attention.key_dim + attention.value_dim), heads * tokens, scores + queries * values)
        + Cost(9 * part.in_width * queries, 10 * part.in_width, part.in_width * queries)
        + _conv_bn_cost(part.in_width, keys, 1, grid)
        + _conv_bn_cost(part.in_width, keys + values, 1, part.grid)
        + _conv_bn_cost(1, values, 3, grid)
        + _conv_bn_cost(values, part.width, 1, grid)
        + _conv_bn_cost(part.in_width, part.width, 3, grid)
    )

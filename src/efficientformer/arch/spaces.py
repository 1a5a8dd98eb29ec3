"""The named search spaces, and builders of spaces of one family."""

from dataclasses import replace
from typing import Literal

from efficientformer.arch.dense import SearchedHead
from efficientformer.arch.head_space import HeadSpace
from efficientformer.arch.space import SearchSpace, StageSpace
from efficientformer.arch.spec import (
    DEFAULT_ACTIVATION,
    FFN,
    MB3D,
    MB4D,
    Activation,
    Architecture,
    AttnFFN,
    Block,
    Strides,
    num_heads_of,
    with_heads,
)
from efficientformer.arch.zoo import Four, build_architecture
from efficientformer.errors import ArchitectureError


def v1_space(
    name: str,
    max_widths: Four,
    max_depths: Four,
    max_mb3d: int,
    *,
    min_widths: Four = (16, 16, 16, 16),
    width_step: int = 16,
    stem_strides: Strides = (2, 2),
    activation: Activation = DEFAULT_ACTIVATION,
    mb4d: MB4D = MB4D(),
    mb3d: MB3D = MB3D(),
    heads: tuple[int, ...] = (),
) -> SearchSpace:
    """A space of EfficientFormer's blocks: MB4D, and in stages 3 and 4 MB3D too, of which the largest network has
    `max_mb3d` at its end (paper, section 4.2). `heads` are those of an MB3D, by default its own number alone."""
    mb3d = with_heads(mb3d, max(heads, default=mb3d.num_heads))
    top = build_architecture(max_widths, max_depths, max_mb3d, stem_strides=stem_strides, mb4d=mb4d, mb3d=mb3d)
    stages = [
        StageSpace(
            low,
            stage.width,
            (mb3d, mb4d) if stage.num_on_tokens else (mb4d,),
            stage.blocks,
            width_step=width_step,
            expansions=(mb4d.mlp_ratio,),
            heads=heads if stage.num_on_tokens else (),
        )
        for low, stage in zip(min_widths, top.stages, strict=True)
    ]
    return SearchSpace(name, tuple(stages), stem_strides, activation)


def v2_space(
    name: str,
    max_widths: Four,
    max_depths: Four,
    *,
    min_widths: Four = (16, 16, 16, 16),
    width_step: int = 16,
    expansions: tuple[int, ...] = (4, 3, 2, 1),
    stem_strides: Strides = (2, 2),
    activation: Activation = DEFAULT_ACTIVATION,
    attention: AttnFFN = AttnFFN(),
    heads: tuple[int, ...] = (),
) -> SearchSpace:
    """A space of EfficientFormerV2's blocks: FFN, and in stages 3 and 4 AttnFFN too, in stage 3 with stride 2. In the
    largest network every block of these stages attends (V2's supernet). `heads` are those of an AttnFFN, by default its
    own number alone."""
    attention = with_heads(attention, max(heads, default=attention.num_heads))
    stages = []
    for index, (low, high, depth) in enumerate(zip(min_widths, max_widths, max_depths, strict=True)):
        kinds: tuple[Block, ...] = (
            (replace(attention, stride=2 if index == 2 else 1), FFN()) if index >= 2 else (FFN(),)
        )
        top = replace(kinds[0], mlp_ratio=expansions[0])
        of_stage = heads if index >= 2 else ()
        stages.append(StageSpace(low, high, kinds, (top,) * depth, width_step, expansions, of_stage))
    return SearchSpace(name, tuple(stages), stem_strides, activation)


# Small images (28 to 64 px): one strided convolution in the stem, slim attention.
QUICK = v1_space(
    "quick",
    (32, 48, 96, 128),
    (2, 2, 3, 2),
    5,
    stem_strides=(2, 1),
    mb3d=MB3D(num_heads=4, key_dim=16, value_ratio=2),
)
# Photographs at 96 to 160 px.
STANDARD = v1_space("standard", (32, 64, 160, 256), (2, 2, 6, 4), 10, mb3d=MB3D(num_heads=4, key_dim=32, value_ratio=2))
# The paper's space at 224 px, in which L7 has the largest widths and depths.
IMAGENET = v1_space("imagenet", (96, 192, 384, 768), (6, 6, 18, 8), 26, min_widths=(32, 48, 96, 192))

V2_QUICK = v2_space(
    "v2_quick",
    (32, 48, 96, 128),
    (2, 2, 3, 2),
    stem_strides=(2, 1),
    activation="hard_swish",
    attention=AttnFFN(num_heads=4, key_dim=16, value_ratio=2),
)
V2_STANDARD = v2_space(
    "v2_standard",
    (32, 64, 160, 256),
    (2, 2, 6, 4),
    activation="hard_swish",
    attention=AttnFFN(num_heads=4, key_dim=32, value_ratio=2),
)
# V2's joint search space at 224 px, in which V2-L has the largest widths and depths.
V2_IMAGENET = v2_space("v2_imagenet", (40, 80, 192, 384), (5, 5, 15, 10), min_widths=(24, 32, 64, 128), width_step=8)

SpaceName = Literal["quick", "standard", "imagenet", "v2_quick", "v2_standard", "v2_imagenet"]
SPACES: dict[SpaceName, SearchSpace] = {
    "quick": QUICK,
    "standard": STANDARD,
    "imagenet": IMAGENET,
    "v2_quick": V2_QUICK,
    "v2_standard": V2_STANDARD,
    "v2_imagenet": V2_IMAGENET,
}


HEAD_STEPS = 4
"""Numbers of heads that the space below a network offers: a quarter of them go at a time."""


def space_below(name: str, architecture: Architecture, *, width_step: int = 16) -> SearchSpace:
    """The space whose largest network is this one: what slimming a trained network may reach.

    Stages narrow by `width_step` down to a quarter of their width, MLPs contract one ratio at a time, and attention
    loses a quarter of its heads at a time, such as 8, 6, 4, 2; a dense head becomes narrower and less deep
    (`HeadSpace.below`). A kind of block that a stage does not have is not in its space, except that an AttnFFN may give
    up its attention. Raises ArchitectureError where two blocks of a stage and kind differ in more than the MLP ratio
    and the number of heads.
    """
    stages = []
    for index, stage in enumerate(architecture.stages):
        widest = max(block.mlp_ratio for block in stage.blocks)
        heads = _heads_below({num_heads_of(block) for block in stage.blocks} - {0})
        kinds = {with_heads(replace(block, mlp_ratio=widest), max(heads, default=0)) for block in stage.blocks}
        if any(isinstance(block, AttnFFN) for block in kinds):
            kinds.add(FFN(mlp_ratio=widest))
        blocks = sorted(kinds, key=lambda block: (not isinstance(block, MB3D | AttnFFN), str(block)))
        if len({type(block) for block in blocks}) < len(blocks):
            raise ArchitectureError(
                f"Stage {index + 1} has blocks of one kind with different options, which no space has: {blocks}."
            )
        steps = (stage.width - max(16, stage.width // 4)) // width_step
        low = stage.width - max(0, steps) * width_step
        expansions = tuple(range(widest, 0, -1))
        stages.append(StageSpace(low, stage.width, tuple(blocks), stage.blocks, width_step, expansions, heads))
    # Mask R-CNN is in no space; that of a search gets the head of its task.
    head = HeadSpace.below(architecture.head) if isinstance(architecture.head, SearchedHead) else None
    return SearchSpace(name, tuple(stages), architecture.stem_strides, architecture.activation, head)


def _heads_below(numbers: set[int]) -> tuple[int, ...]:
    """These numbers of heads, and the largest of them less a quarter at a time, largest first."""
    most = max(numbers, default=0)
    return tuple(sorted(numbers | set(range(most, 0, -max(1, -(-most // HEAD_STEPS)))), reverse=True))

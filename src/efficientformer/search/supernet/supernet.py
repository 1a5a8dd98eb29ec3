"""The supernet: all networks of a search space in one module, by MetaPaths and width prefixes (paper, section 4.2).

A narrower supernet is the same module with every tensor cut to its first channels. The blocks do not know about it: the
cut tensors are passed to a narrow template built from the same code, and gradients flow back through the cut.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from efficientformer.arch.dense import DenseHead
from efficientformer.arch.parts import downsample_part, stage_grids, stem_part
from efficientformer.arch.resolution import Grid
from efficientformer.arch.space import Four, SearchSpace
from efficientformer.arch.spec import Stage
from efficientformer.models.heads.build import build_head
from efficientformer.models.heads.fpn import output_norms
from efficientformer.models.layout import flatten, grid_of
from efficientformer.models.parts import build_part
from efficientformer.search.ancestor import Ancestor, prefix
from efficientformer.search.importance import PathProbabilities
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.metapath import MetaPath, module_name
from efficientformer.search.supernet.mixing import Mixing


class SupernetStage(nn.Module):
    """A downsample (identity in stage 1) and one MetaPath per possible block."""

    def __init__(self, downsample: nn.Module, paths: Sequence[MetaPath]) -> None:
        super().__init__()
        self.downsample = downsample
        self.paths = nn.ModuleList(paths)

    def forward(self, x_BCHW: Tensor, mixing: Mixing, recompute: bool = False) -> Tensor:
        x_BCHW = self.downsample(x_BCHW)
        for path in self.paths:
            x_BCHW = _recomputed(path, x_BCHW, mixing) if recompute else path(x_BCHW, mixing)
        return x_BCHW


def metapaths(
    space: SearchSpace, stage_index: int, width: int, grid: Grid, layer_scale_init: float
) -> tuple[MetaPath, ...]:
    """One MetaPath for every possible block of a stage."""
    stage = space.stages[stage_index]
    blocks = stage.blocks[::-1]
    options = {"layer_scale_init": layer_scale_init, "activation": space.activation}
    return tuple(MetaPath(width, grid, blocks, **options) for _ in range(stage.depth))


class Supernet(Ancestor):
    """MetaPaths in four stages, of the space's kinds and identity: S1, S2 in {MB4D, I}; S3, S4 in {MB4D, MB3D, I}.

    space: the search space.
    resolution: of the images, in pixels.
    num_classes: outputs of the head.
    widths: of the stages; by default the largest of the space. head: a dense head; by default the largest, if the space
        has any.
    layer_scale_init: one tenth instead of the networks' 1e-5: a supernet trains for few epochs, and the logit of a
        block that adds almost nothing gets almost no gradient.
    build_paths: makes the MetaPaths of a stage; templates share theirs.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        resolution: int | Grid,
        num_classes: int,
        widths: Four | None = None,
        head: DenseHead | None = None,
        layer_scale_init: float = 0.1,
        build_paths: Callable[..., Sequence[MetaPath]] = metapaths,
    ) -> None:
        super().__init__()
        self.hidden_means = nn.Module()
        self.space, self.resolution, self.num_classes = space, resolution, num_classes
        widths = widths or space.max_widths
        grids = stage_grids(space.stem_strides, resolution)
        self.stem = build_part(stem_part(space.stem_strides, resolution, widths[0]))
        stages = []
        for index, (width, grid) in enumerate(zip(widths, grids, strict=True)):
            downsample = (
                build_part(downsample_part(grids[index - 1], widths[index - 1], width)) if index else nn.Identity()
            )
            stages.append(SupernetStage(downsample, build_paths(space, index, width, grid, layer_scale_init)))
        self.stages = nn.ModuleList(stages)
        largest = space.network(map(Stage, widths, (stage.largest for stage in space.stages)), head)
        self.norm, self.output_norms = nn.LayerNorm(widths[-1]), None
        if largest.head is None:
            self.head = nn.Linear(widths[-1], num_classes)
        else:
            self.norm = nn.Identity()
            self.output_norms = output_norms(largest, first_stage=largest.head.first_stage)
            self.head = build_head(largest, num_classes)

    def forward(self, x_BCHW: Tensor, mixing: Mixing, recompute: bool = False) -> Tensor:
        """Images to logits (B, num_classes), or to the output of the dense head.

        With `recompute`, activations inside each MetaPath are not kept but recomputed in the backward pass: a fraction
        of the memory for a third more time.
        """
        grid, maps = grid_of(x_BCHW), list[Tensor]()
        x_BCHW = self.stem(x_BCHW)
        for stage in self.stages:
            x_BCHW = stage(x_BCHW, mixing, recompute)
            maps.append(x_BCHW)
        if self.output_norms is not None:
            return self.head([norm(map_) for norm, map_ in zip(self.output_norms, maps, strict=True)], grid)
        return self.head(self.norm(flatten(x_BCHW)).mean(dim=1))

    def forward_at(
        self,
        widths: Four,
        x_BCHW: Tensor,
        mixing: Mixing,
        recompute: bool = False,
        head: DenseHead | None = None,
    ) -> Tensor:
        """`forward` of the supernet with every stage cut to its first `widths` channels, and to another dense `head` of
        the space."""
        largest = self.space.head and self.space.head.largest()
        if widths == self.space.max_widths and head in (None, largest):
            return self(x_BCHW, mixing, recompute)
        template = _template(self.space, self.resolution, self.num_classes, widths, head or largest)
        mine = dict(self.named_parameters()) | dict(self.named_buffers())
        wanted = dict(template.named_parameters()) | dict(template.named_buffers())
        cut = {name: prefix(mine[name], tensor.shape) for name, tensor in wanted.items()}
        template.train(self.training)
        return functional_call(template, cut, (x_BCHW, mixing, recompute))

    def source_name(self, name: str, subnet: Subnet, shape: torch.Size) -> str:
        """`stages.2.blocks.1.…` of the subnet is `stages.2.paths.<origin>.<kind>.…` here."""
        words = name.split(".")
        if words[0] != "stages" or words[2] != "blocks":
            return name
        stage_index, block_index = int(words[1]), int(words[3])
        kind = subnet.architecture.stages[stage_index].blocks[block_index].kind
        origin = subnet.origins[stage_index][block_index]
        return ".".join(["stages", words[1], "paths", str(origin), module_name(kind), *words[4:]])

    def widest(self) -> list[Subnet]:
        """One subnet per kind: the costliest kind at every place, and the cheapest."""
        space, origins = self.space, Subnet.largest(self.space).origins
        counts = (sum(space.max_depths) if space.max_tokens else 0, 0)
        built = dict.fromkeys(space.build(space.max_widths, space.max_depths, count) for count in counts)
        return [Subnet(architecture, origins) for architecture in built]

    def path_probabilities(self) -> list[list[PathProbabilities]]:
        """Probabilities of every MetaPath's candidates, stage by stage."""
        return [[path.probabilities() for path in stage.paths] for stage in self.stages]  # type: ignore[union-attr]


def _recomputed(path: nn.Module, x_BCHW: Tensor, mixing: Mixing) -> Tensor:
    """The path's output; its activations are recomputed, with the same random numbers, in the backward pass.

    By then a template no longer has the tensors that it was called with, so they are held here. Batch norm counts such
    a batch twice in its running statistics, which are re-estimated before they are used.
    """
    tensors = dict(path.named_parameters()) | dict(path.named_buffers())
    return checkpoint(lambda x: functional_call(path, tensors, (x, mixing)), x_BCHW, use_reentrant=False)  # type: ignore[return-value]


@lru_cache(maxsize=256)
def _template(
    space: SearchSpace, resolution: int | Grid, num_classes: int, widths: Four, head: DenseHead | None
) -> Supernet:
    """A narrow supernet on the meta device.

    Training draws new widths all the time, and building the paths of a supernet took longer than a step on a GPU. So
    templates share the paths of a stage and width, which hold no data.
    """
    with torch.device("meta"):
        return Supernet(
            space,
            resolution=resolution,
            num_classes=num_classes,
            widths=widths,
            head=head,
            build_paths=_template_paths,
        )


_template_paths = lru_cache(maxsize=256)(metapaths)

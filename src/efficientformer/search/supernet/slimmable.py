"""The slimmable network: all networks of a space in the largest one (V2, section on joint search; Yu et al., 2019).

A smaller network is the largest with blocks dropped and every tensor cut to its first channels, which of attention are
those of its first heads; an AttnFFN that became an FFN is the FFN that it holds. The blocks do not know about it: the
cut tensors are passed to templates built from the same code, and gradients flow back through the cut.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from efficientformer.arch.parts import entries, head_parts, stage_grids
from efficientformer.arch.resolution import Grid
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import Activation, Block, Stage
from efficientformer.models.heads.build import DenseEnd
from efficientformer.models.layout import grid_of
from efficientformer.models.network import Network
from efficientformer.models.parts import build_part
from efficientformer.models.stage import build_block
from efficientformer.search.ancestor import Ancestor, prefix
from efficientformer.search.scoring.hidden_means import folded
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.mixing import BatchNormForm


class SlimmableNetwork(Network, Ancestor):
    """A network of EfficientFormerV2's blocks that holds every network of a space: the widest, with the costliest block
    at every place.

    space: the search space.
    resolution, num_classes: as of a `Network`.
    batch_norm: "shared" cuts batch norm like every tensor. "switchable" has one batch norm for every number of channels
        (the paper's form); those below the largest are in `norms`.
    layer_scale_init: one tenth, as in a supernet of MetaPaths: it trains for few epochs.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        resolution: int | Grid,
        num_classes: int,
        batch_norm: BatchNormForm = "shared",
        layer_scale_init: float = 0.1,
    ) -> None:
        # Where the largest network of the space has an FFN, another network of the space may attend.
        super().__init__(
            space.network(stage.costliest for stage in space.stages),
            num_classes=num_classes,
            resolution=resolution,
            layer_scale_init=layer_scale_init,
        )
        self.space = space
        self.hidden_means = nn.Module()
        self.norms = nn.ModuleDict()
        if batch_norm == "switchable":
            for name, widths in _norm_widths(space, resolution, num_classes).items():
                for width in sorted(widths)[:-1]:
                    self.norms[_switched(name, width)] = nn.BatchNorm2d(width)

    def source_name(self, name: str, subnet: Subnet, shape: torch.Size) -> str:
        """`stages.2.blocks.1.…` of the subnet is `stages.2.blocks.<origin>.…` here; a batch norm may be in `norms`."""
        words = name.split(".")
        if words[0] == "stages" and words[2] == "blocks":
            words[3] = str(subnet.origins[int(words[1])][int(words[3])])
        switched = _switched(".".join(words[:-1]), shape[0]) if shape else ""
        return ".".join(["norms", switched, words[-1]] if switched in self.norms else words)

    def widest(self) -> list[Subnet]:
        """The network itself: an FFN is part of an AttnFFN, and every smaller MLP of the largest."""
        return [Subnet(self.architecture, Subnet.largest(self.space).origins)]

    def forward_at(self, subnet: Subnet, x_BCHW: Tensor, recompute: bool = False) -> Tensor:
        """Images to logits (B, num_classes) of a subnet, or to the output of its dense head, with the means of hidden
        neurons where there are any.

        With `recompute`, activations inside each part are not kept but recomputed in the backward pass.
        """
        mine = dict(self.named_parameters()) | dict(self.named_buffers())
        grid, maps = grid_of(x_BCHW), dict[str, Tensor]()
        for start, template, shapes in templates(subnet, self.resolution, self.num_classes):
            cut = {
                start + name: prefix(mine[self.source_name(start + name, subnet, shape)], shape)
                for name, shape in shapes.items()
            }
            cut |= {name: cut[name] + shift for name, shift in folded(self, subnet, cut)}
            cut = {name.removeprefix(start): tensor for name, tensor in cut.items()}
            if isinstance(template, DenseEnd):
                return _called(template, cut, self.training, list(maps.values()), grid)
            x_BCHW = _recomputed(template, cut, x_BCHW) if recompute else _called(template, cut, self.training, x_BCHW)
            if subnet.architecture.head is not None:
                maps[start[: len("stages.0")] if start != "stem." else "stages.0"] = x_BCHW
        return x_BCHW


def _switched(name: str, width: int) -> str:
    """The name in `norms` of a batch norm for so few channels."""
    return f"{name.replace('.', '-')}-{width}"


def _norm_widths(space: SearchSpace, resolution: int | Grid, num_classes: int) -> dict[str, set[int]]:
    """Every number of channels that each batch norm has in some network of the space, by its name in the largest."""
    widths, largest = defaultdict[str, set[int]](set), Subnet.largest(space)
    heads = space.head.every() if space.head is not None else ()
    for head in heads:
        architecture = replace(largest.architecture, head=head)
        for start, _, shapes in templates(Subnet(architecture, largest.origins), resolution, num_classes):
            _add_norms(widths, start, shapes)
    for index, stage in enumerate(space.stages):
        costliest_kind = [block for block in stage.candidates if block.kind == stage.blocks[0].kind]
        for width, block in itertools.product(stage.widths, costliest_kind):
            architecture = largest.architecture.with_stage(index, Stage(width, (block,) * stage.depth))
            for start, _, shapes in templates(Subnet(architecture, largest.origins), resolution, num_classes):
                _add_norms(widths, start, shapes)
    return widths


def _add_norms(widths: dict[str, set[int]], start: str, shapes: Mapping[str, torch.Size]) -> None:
    for name, shape in shapes.items():
        norm, _, tensor = f"{start}{name}".rpartition(".")
        if tensor == "running_mean":
            widths[norm].add(shape[0])


Template = tuple[nn.Module, dict[str, torch.Size]]
"""A part of a network on the meta device, and the shapes of its tensors by name."""


def templates(
    subnet: Subnet, resolution: int | Grid, num_classes: int
) -> Iterator[tuple[str, nn.Module, dict[str, torch.Size]]]:
    """The parts of a subnet in order: what the names of their tensors start with in its network, and the template."""
    architecture = subnet.architecture
    grids, starts = stage_grids(architecture.stem_strides, resolution), entries(architecture, resolution)
    for index, (entry, stage, grid) in enumerate(zip(starts, architecture.stages, grids, strict=True)):
        yield f"stages.{index}.downsample." if index else "stem.", *_template(build_part, entry)
        for place, block in enumerate(stage.blocks):
            options = stage.width, block, grid, architecture.activation
            yield f"stages.{index}.blocks.{place}.", *_template(_build_block, *options)
    if architecture.head is None:
        (head,) = head_parts(architecture, resolution, num_classes)
        yield "", *_template(build_part, head)
        return
    # What a dense head depends on besides widths: one block is enough.
    small = replace(architecture, stages=tuple(replace(s, blocks=s.blocks[:1]) for s in architecture.stages))
    yield "", *_template(DenseEnd, small, num_classes)


def _build_block(width: int, block: Block, grid: Grid, activation: Activation) -> nn.Module:
    return build_block(width, block, grid, activation=activation)


@lru_cache(maxsize=4096)
def _template(build: Callable[..., nn.Module], *options: Hashable) -> Template:
    """What `build` makes of these options, without data.

    Training draws new subnets all the time. Whole networks would seldom be drawn twice, but their parts are.
    """
    with torch.device("meta"):
        template = build(*options)
    tensors = dict(template.named_parameters()) | dict(template.named_buffers())
    return template, {name: tensor.shape for name, tensor in tensors.items()}


def _called(template: nn.Module, tensors: Mapping[str, Tensor], is_training: bool, *inputs: object) -> Tensor:
    template.train(is_training)
    return functional_call(template, dict(tensors), inputs)


def _recomputed(template: nn.Module, tensors: Mapping[str, Tensor], x_BCHW: Tensor) -> Tensor:
    """The part's output, without keeping its activations. Batch norm counts such a batch twice in its running
    statistics, which are re-estimated before they are used."""
    return checkpoint(lambda x: _called(template, tensors, True, x), x_BCHW, use_reentrant=False)  # type: ignore[return-value]

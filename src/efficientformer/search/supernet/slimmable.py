"""The slimmable network: all networks of a space in the largest one (V2, section on joint search; Yu et al., 2019).

A smaller network is the largest with blocks dropped and every tensor cut to its first channels; an AttnFFN that became
an FFN is the FFN that it holds. The blocks do not know about it: the cut tensors are passed to templates built from the
same code, and gradients flow back through the cut.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from efficientformer.arch.parts import Grid, Part, network_parts
from efficientformer.arch.space import SearchSpace
from efficientformer.models.network import Network
from efficientformer.models.parts import build_part
from efficientformer.search.ancestor import Ancestor, prefix
from efficientformer.search.subnet import Subnet


class SlimmableNetwork(Network, Ancestor):
    """The largest network of a space of EfficientFormerV2's blocks, and with its weights every other network.

    space: the search space.
    resolution, num_classes: as of a `Network`.
    layer_scale_init: one tenth, as in a supernet of MetaPaths: it trains for few epochs.
    """

    def __init__(
        self, space: SearchSpace, *, resolution: int | Grid, num_classes: int, layer_scale_init: float = 0.1
    ) -> None:
        super().__init__(
            space.largest(), num_classes=num_classes, resolution=resolution, layer_scale_init=layer_scale_init
        )
        self.space = space

    def source_name(self, name: str, subnet: Subnet, shape: torch.Size) -> str:
        """`stages.2.blocks.1.…` of the subnet is `stages.2.blocks.<origin>.…` here."""
        words = name.split(".")
        if words[0] == "stages" and words[2] == "blocks":
            words[3] = str(subnet.origins[int(words[1])][int(words[3])])
        return ".".join(words)

    def forward_at(self, subnet: Subnet, x_BCHW: Tensor, recompute: bool = False) -> Tensor:
        """Images to logits (B, num_classes) of a subnet.

        With `recompute`, activations inside each part are not kept but recomputed in the backward pass.
        """
        mine = dict(self.named_parameters()) | dict(self.named_buffers())
        for place, part in named_parts(subnet, self.resolution, self.num_classes):
            template, shapes = _template(part)
            cut = {
                name: prefix(mine[self.source_name(place + name, subnet, shape)], shape)
                for name, shape in shapes.items()
            }
            x_BCHW = _recomputed(template, cut, x_BCHW) if recompute else _called(template, cut, x_BCHW, self.training)
        return x_BCHW


def named_parts(subnet: Subnet, resolution: int | Grid, num_classes: int) -> Iterator[tuple[str, Part]]:
    """The parts of a subnet in order, each with what the names of its tensors start with in the subnet's network."""
    stage = block = -1
    for part in network_parts(subnet.architecture, resolution, num_classes):
        if part.kind == "stem":
            stage, block = 0, -1
            yield "stem.", part
        elif part.block is not None:
            block += 1
            yield f"stages.{stage}.blocks.{block}.", part
        elif part.num_classes is not None:
            yield "", part
        else:
            stage, block = stage + 1, -1
            yield f"stages.{stage}.downsample.", part


def _called(template: nn.Module, tensors: Mapping[str, Tensor], x_BCHW: Tensor, is_training: bool) -> Tensor:
    template.train(is_training)
    return functional_call(template, dict(tensors), (x_BCHW,))


def _recomputed(template: nn.Module, tensors: Mapping[str, Tensor], x_BCHW: Tensor) -> Tensor:
    """The part's output, without keeping its activations. Batch norm counts such a batch twice in its running
    statistics, which are re-estimated before they are used."""
    return checkpoint(lambda x: _called(template, tensors, x, True), x_BCHW, use_reentrant=False)  # type: ignore[return-value]


@lru_cache(maxsize=4096)
def _template(part: Part) -> tuple[nn.Module, dict[str, torch.Size]]:
    """A part on the meta device, and the shapes of its tensors.

    Training draws new subnets all the time. Whole networks would seldom be drawn twice, but their parts are.
    """
    with torch.device("meta"):
        template = build_part(part)
    tensors = dict(template.named_parameters()) | dict(template.named_buffers())
    return template, {name: tensor.shape for name, tensor in tensors.items()}

"""MetaPath: the choice between kinds of block and identity at one place of the supernet (paper, section 4.2).

Only here do maps (B, C, H, W) and tokens (B, N, C) occur side by side. Blocks are residual, so mixing their outputs
with the identity's mixes how much of each block is added.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import Activation, Block, takes_tokens
from efficientformer.models.layout import flatten, grid_of, unflatten
from efficientformer.models.stage import build_block
from efficientformer.search.importance import IDENTITY, PathProbabilities
from efficientformer.search.supernet.gumbel import path_weights, straight_through
from efficientformer.search.supernet.mixing import Mixing


class MetaPath(nn.Module):
    """Candidates and their logits `alpha`, in the order of `names`; every logit starts at zero.

    The block of each kind is the submodule `module_name(kind)`.
    """

    def __init__(
        self, width: int, grid: Grid, blocks: Sequence[Block], *, layer_scale_init: float, activation: Activation
    ) -> None:
        super().__init__()
        self.names = (*(block.kind for block in blocks), IDENTITY)
        self._on_tokens = {block.kind for block in blocks if takes_tokens(block)}
        for block in blocks:
            module = build_block(width, block, grid, layer_scale_init=layer_scale_init, activation=activation)
            self.add_module(module_name(block.kind), module)
        self.alpha = nn.Parameter(torch.zeros(len(self.names)))

    def forward(self, x_BCHW: Tensor, mixing: Mixing) -> Tensor:
        if mixing.sampling == "even":
            weights_P, chosen = self._probabilities(), int(torch.randint(len(self.names), ()))
        else:
            weights_P = path_weights(self.alpha, temperature=mixing.temperature, noise=mixing.noise)
            chosen = int(weights_P.argmax()) if mixing.sampling == "single" else None
        if chosen is not None:
            return straight_through(weights_P, chosen) * self._candidate(self.names[chosen], x_BCHW)
        mixed_BCHW = torch.zeros_like(x_BCHW)
        for name, weight in zip(self.names, weights_P, strict=True):
            mixed_BCHW = mixed_BCHW + weight * self._candidate(name, x_BCHW)
        return mixed_BCHW

    def probabilities(self) -> PathProbabilities:
        """Softmax of the logits, without noise and at temperature one."""
        return dict(zip(self.names, self._probabilities().tolist(), strict=True))

    def _probabilities(self) -> Tensor:
        return path_weights(self.alpha, temperature=1.0, noise="none")

    def _candidate(self, name: str, x_BCHW: Tensor) -> Tensor:
        if name == IDENTITY:
            return x_BCHW
        block = self.get_submodule(module_name(name))
        if name in self._on_tokens:
            return unflatten(block(flatten(x_BCHW), grid_of(x_BCHW)), grid_of(x_BCHW))
        return block(x_BCHW)


def module_name(kind: str) -> str:
    """The submodule of a MetaPath that is a block of this kind."""
    return kind.lower()

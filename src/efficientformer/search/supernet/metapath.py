"""MetaPath: the choice between MB4D, MB3D and identity at one place of the supernet (paper, section 4.2).

Only here do maps (B, C, H, W) and tokens (B, N, C) occur side by side. Blocks are residual, so mixing their outputs
with the identity's mixes how much of each block is added.
"""

import torch
from torch import Tensor, nn

from efficientformer.arch.parts import Grid
from efficientformer.arch.spec import MB3D, MB4D
from efficientformer.models.layout import flatten, grid_of, unflatten
from efficientformer.models.metablocks import MB3DBlock, MB4DBlock
from efficientformer.search.importance import PathProbabilities
from efficientformer.search.supernet.gumbel import path_weights, straight_through
from efficientformer.search.supernet.mixing import Mixing


class MetaPath(nn.Module):
    """Candidates and their logits `alpha`, in the order of `names`; every logit starts at zero."""

    def __init__(self, width: int, grid: Grid, mb4d: MB4D, mb3d: MB3D | None, *, layer_scale_init: float) -> None:
        super().__init__()
        self.names = ("MB4D", "identity") if mb3d is None else ("MB4D", "MB3D", "identity")
        self.mb4d = MB4DBlock(width, mb4d, layer_scale_init=layer_scale_init)
        self.mb3d = None if mb3d is None else MB3DBlock(width, mb3d, grid, layer_scale_init=layer_scale_init)
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
        match name:
            case "MB4D":
                return self.mb4d(x_BCHW)
            case "MB3D":
                assert self.mb3d is not None
                return unflatten(self.mb3d(flatten(x_BCHW), grid_of(x_BCHW)), grid_of(x_BCHW))
            case _:
                return x_BCHW

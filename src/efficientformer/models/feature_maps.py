"""A network as the backbone of a dense task, such as detection or segmentation (paper, sections 5.2 and 5.3)."""

from torch import Tensor, nn

from efficientformer.models.heads.fpn import output_norms
from efficientformer.models.network import Network


class FeatureMaps(nn.Module):
    """The maps (B, C, H, W) that leave the four stages, the last stage's tokens as a map again.

    With `has_norms` each is normalized over channels and cells together: by default in the first family but not in V2,
    as in the authors' backbones. `widths` and `strides` describe the maps to a neck. The network loses its head and
    final norm.
    """

    def __init__(self, network: Network, *, has_norms: bool | None = None) -> None:
        super().__init__()
        network.prune_intermediate_layers(prune_norm=True)
        self.network = network
        self.widths = network.architecture.widths
        self.strides = tuple(info["reduction"] for info in network.feature_info)
        self.norms = output_norms(network.architecture, has_norms=has_norms)

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        maps = self.network.forward_maps(x_BCHW)
        return [norm(map_BCHW) for norm, map_BCHW in zip(self.norms, maps, strict=True)]

"""The importance of channels, and a network whose first channels matter most.

A channel of a stage matters by what its blocks add to it: the sum over their branches of |layer scale| x rms of the
branch. A hidden channel matters by what it gives to the stage: its rms x the norm of its outgoing weights.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from efficientformer.errors import UsageError
from efficientformer.models.embed import Stem
from efficientformer.models.network import Network
from efficientformer.search.scoring.permutation import permute_hidden, permute_stage, permute_stem


@dataclass(frozen=True)
class ChannelImportances:
    """Importances of all channels that widths cut.

    stem: of the channels before the stem's last convolution, then, if it has three, of those after its first.
    stages: of the channels of every stage.
    hidden: of the hidden channels of every block, stage by stage.
    """

    stem: list[Tensor]
    stages: list[Tensor]
    hidden: list[list[Tensor]]


def sort_by_importance(network: Network, batches: Iterable[Tensor]) -> ChannelImportances:
    """Reorder all channels of a network in place, the most important first: what is cut from the end matters least.

    The network computes the same. An optimizer's moments are not reordered, so reorder before a training begins.

    batches: images (B, C, H, W), whose activations are measured; 250 to 1,000 images in all.

    Returns the importances, in the order from before. Raises UsageError without images and for a deploy form.
    """
    importances = channel_importances(network, batches)
    for position, of_stem in enumerate(importances.stem):
        permute_stem(network, _descending(of_stem), is_first=position == 1)
    for index, (stage, blocks) in enumerate(zip(importances.stages, importances.hidden, strict=True)):
        permute_stage(network, index, _descending(stage))
        for position, hidden in enumerate(blocks):
            permute_hidden(network, index, position, _descending(hidden))
    return importances


@torch.no_grad()
def channel_importances(network: Network, batches: Iterable[Tensor]) -> ChannelImportances:
    """The importance of every channel, from activations on images in evaluation mode. Raises UsageError without images.

    Batch norm uses its running statistics: estimate those of a supernet's network before.
    """
    measured = _measure(network, batches)
    stages, hidden = [], []
    for stage in network.stages:
        of_stage: list[Tensor] = []
        of_hidden = []
        for block in stage.blocks:  # type: ignore[union-attr]
            branches = [(block.layer_scale_2, block.mlp)]
            if hasattr(block, "layer_scale_1"):
                branches.append((block.layer_scale_1, block.token_mixer))
            of_stage += [scale.abs() * measured.rms(branch) for scale, branch in branches]
            of_hidden.append(measured.rms(block.mlp.fc2) * _outgoing_norm(block))
        stages.append(torch.stack(of_stage).sum(dim=0))
        hidden.append(of_hidden)
    stem = [
        measured.rms(conv) * _normalized(conv.weight, norm).square().sum(dim=(0, 2, 3)).sqrt()
        for conv, norm in _inside_stem(network.stem)
    ]
    return ChannelImportances(stem, stages, hidden)


def _inside_stem(stem: Stem) -> list[tuple[nn.Conv2d, nn.Module]]:
    """The convolutions of the stem that read channels of the stem, with their norms; the last one first."""
    return [(stem.conv2, stem.norm2), *([] if stem.first is None else [(stem.conv1, stem.norm1)])]


def _outgoing_norm(block: nn.Module) -> Tensor:
    """Norm of every hidden channel's weights into the stage, as they act: behind batch norm and layer scale."""
    mlp = block.mlp
    weights_CH = _normalized(mlp.fc2.weight, getattr(mlp, "norm2", None)).flatten(1)  # type: ignore[union-attr, arg-type]
    return (block.layer_scale_2[:, None] * weights_CH).norm(dim=0)  # type: ignore[index]


def _normalized(weight: Tensor, norm: nn.Module | None) -> Tensor:
    """The weights of a layer whose output a batch norm divides."""
    if not isinstance(norm, nn.BatchNorm2d):
        return weight
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale.reshape(-1, *[1] * (weight.dim() - 1)) * weight


class _Measured:
    """Sums of squares of channels, by module."""

    def __init__(self) -> None:
        self._squares: dict[nn.Module, Tensor] = {}
        self._counts: dict[nn.Module, int] = defaultdict(int)

    def add(self, module: nn.Module, x: Tensor) -> None:
        """Add a map (B, C, H, W) or tokens (B, N, C)."""
        x_NC = (x.transpose(1, -1) if x.dim() == 4 else x).flatten(0, -2)
        squares = x_NC.double().square().sum(dim=0)
        self._squares[module] = self._squares[module] + squares if module in self._squares else squares
        self._counts[module] += len(x_NC)

    def rms(self, module: nn.Module) -> Tensor:
        if module not in self._squares:
            raise UsageError("The importance of channels is measured on images, and there are none.")
        return (self._squares[module] / self._counts[module]).sqrt().float()


def _measure(network: Network, batches: Iterable[Tensor]) -> _Measured:
    """Of every branch its output, and of every layer behind a hidden one its input."""
    measured = _Measured()

    def of_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        measured.add(module, inputs[0])

    def of_output(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        measured.add(module, output)

    blocks = [block for stage in network.stages for block in stage.blocks]  # type: ignore[union-attr]
    inner = [*(conv for conv, _ in _inside_stem(network.stem)), *(block.mlp.fc2 for block in blocks)]
    branches = [getattr(block, name) for block in blocks for name in ("mlp", "token_mixer") if hasattr(block, name)]
    hooks = [module.register_forward_pre_hook(of_input) for module in inner]
    hooks += [module.register_forward_hook(of_output) for module in branches]
    device, was_training = next(network.parameters()).device, network.training
    try:
        network.eval()
        for x_BCHW in batches:
            network(x_BCHW.to(device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return measured


def _descending(importance: Tensor) -> Tensor:
    return importance.argsort(descending=True, stable=True)

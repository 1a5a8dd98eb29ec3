"""A named network as the module that a user would deploy, with random weights as large as trained ones.

Ours are fused. timm's are re-parameterized by timm where it supports that (RepViT, FastViT, MobileOne, LeViT, the
EfficientViT of MSRA, SHViT), after a check that the output does not change. Batch norm that timm does not fold is
folded by the exporter.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from efficientformer.analysis.comparison.network_source import NetworkSource
from efficientformer.analysis.comparison.random_weights import randomize
from efficientformer.arch.resolution import Resolution, grid_of_input, resolution_text
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import LatencyError
from efficientformer.exporting.files import input_sample
from efficientformer.formats.values import TaskName
from efficientformer.latency.tables.preparation import same_weights
from efficientformer.models.create import create_model
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.network import Network, at_resolution
from efficientformer.models.weights.load import load_network
from efficientformer.tasks.kinds import KINDS

EXACT = 1e-3
"""Largest accepted change of a logit by re-parameterization, in standard deviations of the logits."""
DEFAULT_RESOLUTION = 224


@dataclass(frozen=True)
class BuiltNetwork:
    """A network in deploy form.

    module: the network.
    input_shape: (1, channels, height, width).
    num_params: of the deploy form; of our own networks, before fusing.
    deploy_form: how the deploy form was made, in words.
    weights: "random" or "trained".
    """

    module: nn.Module
    input_shape: tuple[int, int, int, int]
    num_params: int
    deploy_form: str
    weights: str


def build_network(source: NetworkSource, resolution: Resolution | None) -> BuiltNetwork:
    """Build the network for images of `resolution`, or of its default size. The same source gives the same weights.

    Raises LatencyError when the network does not support images of that size.
    """
    try:
        with same_weights(), torch.no_grad():
            return _BUILDERS[source.kind](source, resolution)
    except (RuntimeError, ValueError, TypeError, AssertionError, AttributeError, IndexError) as error:
        size = "its own size" if resolution is None else f"{resolution_text(resolution)} px"
        raise LatencyError(f"{source.name} cannot be built for images of {size}: {_first_line(error)}") from error


@torch.inference_mode()
def eager_output(network: BuiltNetwork) -> torch.Tensor:
    """The first output of the network in eager PyTorch, for the fixed input."""
    return first_tensor(network.module(torch.from_numpy(input_sample(network.input_shape))))


def first_tensor(output: Any) -> torch.Tensor:
    while not isinstance(output, torch.Tensor):
        output = next(iter(output.values())) if isinstance(output, dict) else output[0]
    return output


def tagged_timm_name(name: str) -> str:
    """A timm name with the tag of its weights; if it has none, timm's default tag."""
    import timm

    about = timm.get_pretrained_cfg(name, allow_unregistered=True)
    tag = about.tag if about else ""
    return name if "." in name or not tag else f"{name}.{tag}"


def _build_zoo(source: NetworkSource, resolution: Resolution | None) -> BuiltNetwork:
    model, size = source.model, resolution or DEFAULT_RESOLUTION
    if model is None:
        network = create_model(source.target, resolution=size)
    else:
        architecture = replace(ZOO[source.target], head=model.head)
        network = create_model(architecture, resolution=size, num_classes=model.num_classes)
    randomize(network, _input_shape(size))
    return _fused(network, _input_shape(size), "random", source.task)


def _build_from_weights(source: NetworkSource, resolution: Resolution | None) -> BuiltNetwork:
    network = load_network(Path(source.target)).eval()
    if resolution is not None:
        network = at_resolution(network, resolution)
    return _fused(network, _input_shape(network.resolution), "trained", source.task)


def _fused(
    network: Network, input_shape: tuple[int, int, int, int], weights: str, task: TaskName | None
) -> BuiltNetwork:
    """With what an exported file of the task computes behind the network, such as the decoding of boxes."""
    deployed = fuse(network)
    complete, _ = KINDS[task or "classification"].exported(deployed, input_shape[2:])
    form = "fused" if complete is deployed else "fused, with decoding"
    return BuiltNetwork(complete, input_shape, num_params(network), form, weights)


def _build_timm(source: NetworkSource, resolution: Resolution | None) -> BuiltNetwork:
    import timm

    name = source.target
    about = timm.get_pretrained_cfg(name, allow_unregistered=True)
    channels, height, width = about.input_size if about else (3, DEFAULT_RESOLUTION, DEFAULT_RESOLUTION)
    own = (1, channels, height, width)
    shape = own if resolution is None else (1, channels, *grid_of_input(resolution))
    # Without pretrained weights, the tag of a name only sets the input size and the number of classes.
    model = create_timm(name, resolution if shape != own else None)
    randomize(model, shape)
    model, form = timm_deploy_form(model, shape)
    return BuiltNetwork(model, shape, num_params(model), form, "random")


@torch.no_grad()
def timm_deploy_form(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[nn.Module, str]:
    """A network of timm in evaluation mode as one would deploy it, without gradients, and in words how it was made.

    It is re-parameterized by timm where that is supported and does not change the output; else it is `model`.
    """
    from timm.utils.model import reparameterize_model

    deployed = reparameterize_model(model).eval()
    x = torch.from_numpy(input_sample(input_shape))
    before, after = first_tensor(model(x)), first_tensor(deployed(x))
    form = "as in timm"
    if _kinds(deployed) != _kinds(model):
        exact = bool((before - after).abs().max() <= EXACT * before.std())
        form = "re-parameterized by timm" if exact else "as in timm: re-parameterization changes its output"
        model = deployed if exact else model
    return model.requires_grad_(False), form


def create_timm(name: str, img_size: Resolution | None, **options: Any) -> nn.Module:
    """A network of timm in evaluation mode, for images of `img_size`, or of its own size.

    options: further arguments of `timm.create_model`, which by default draws random weights. Raises anything that it
    raises.
    """
    import timm

    if img_size is not None:
        try:
            return timm.create_model(name, exportable=True, img_size=img_size, **options).eval()
        except TypeError:  # Networks without position embeddings have no such argument.
            pass
    return timm.create_model(name, exportable=True, **options).eval()


_BUILDERS: dict[str, Callable[[NetworkSource, Resolution | None], BuiltNetwork]] = {
    "zoo": _build_zoo,
    "timm": _build_timm,
    "weights": _build_from_weights,
}


def _input_shape(resolution: Resolution) -> tuple[int, int, int, int]:
    return (1, 3, *grid_of_input(resolution))


def _kinds(module: nn.Module) -> list[type]:
    return [type(part) for part in module.modules()]


def num_params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

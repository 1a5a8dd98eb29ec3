"""Chains of parts and whole networks as a table times them: untrained, in deploy form, one image at a time.

Latency does not depend on the values of the weights, as long as no product becomes a denormal number, which is slow.
"""

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import nn

from efficientformer.arch.dense import OneStage
from efficientformer.arch.resolution import Grid, grid_of_input
from efficientformer.arch.spec import Architecture
from efficientformer.latency.prepared import Prepared
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.tables.chains import Chain
from efficientformer.latency.timing.session import Prepare
from efficientformer.models.create import create_model
from efficientformer.models.deploy.forms import DeployForms, forms_of
from efficientformer.models.deploy.fuse import fuse_in_place
from efficientformer.models.heads.decoding import Detector
from efficientformer.models.parts import build_part, part_input_shape

LAYER_SCALE = 0.5
"""New networks have values near zero; this one keeps products away from denormal numbers."""


def preparations(
    items: Mapping[str, Chain | Architecture], resolution: int | Grid, num_classes: int, runtime: Runtime
) -> dict[str, Prepare]:
    """By name of a chain or network, the function that prepares it."""
    return {
        name: partial(prepare_architecture, item, resolution, num_classes, runtime)
        if isinstance(item, Architecture)
        else partial(prepare_chain, item, runtime)
        for name, item in items.items()
    }


def prepare_chain(chain: Chain, runtime: Runtime) -> Prepared:
    with same_weights(), torch.no_grad():
        module = nn.Sequential(*map(build_part, chain))
        for name, parameter in module.named_parameters():
            if "layer_scale" in name:
                parameter.fill_(LAYER_SCALE)
    return runtime.prepare(fuse_in_place(module, forms_of(runtime.name)), part_input_shape(chain[0]))


def prepare_architecture(
    architecture: Architecture, resolution: int | Grid, num_classes: int, runtime: Runtime
) -> Prepared:
    """With what its exported file has behind it."""
    grid = grid_of_input(resolution)
    network = untrained_network(architecture, resolution, num_classes, forms_of(runtime.name))
    if isinstance(architecture.head, OneStage):
        network = Detector(network, grid)
    return runtime.prepare(network, (1, 3, *grid))


def untrained_network(
    architecture: Architecture, resolution: int | Grid, num_classes: int, forms: DeployForms = DeployForms()
) -> nn.Module:
    """In deploy form."""
    with same_weights():
        network = create_model(
            architecture, num_classes=num_classes, resolution=resolution, layer_scale_init=LAYER_SCALE
        )
    return fuse_in_place(network, forms)


@contextlib.contextmanager
def same_weights() -> Iterator[None]:
    """The same weights every time: a resumed measurement times the same files, which a remote device already has."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield

"""The accuracy oracle of slimming: a subnet with the supernet's weights, judged without training it.

Batch norm statistics belong to the network that made them, so they are estimated again for every subnet before it is
scored.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from efficientformer.models.network import Network, create_model
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet import Supernet, prefix
from efficientformer.tasks.classification import evaluate

Batch = tuple[Tensor, Tensor]


def extract_network(supernet: Supernet, subnet: Subnet) -> Network:
    """The subnet as a network of its own, with the supernet's weights cut to its widths."""
    network = create_model(subnet.architecture, num_classes=supernet.num_classes, resolution=supernet.resolution)
    source = supernet.state_dict()
    state = {}
    for name, tensor in network.state_dict().items():
        state[name] = prefix(source[_supernet_name(name, subnet)], tensor.shape).clone()
    network.load_state_dict(state)
    return network.to(next(supernet.parameters()).device)


def _supernet_name(name: str, subnet: Subnet) -> str:
    """`stages.2.blocks.1.…` of a network lives in `stages.2.paths.<origin>.mb4d.…` or `….mb3d.…` of the supernet."""
    words = name.split(".")
    if words[0] != "stages" or words[2] != "blocks":
        return name
    stage_index, block_index = int(words[1]), int(words[3])
    kind = subnet.architecture.stages[stage_index].blocks[block_index].kind
    origin = subnet.origins[stage_index][block_index]
    return ".".join(["stages", words[1], "paths", str(origin), kind.lower(), *words[4:]])


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace running statistics by the averages over `batches`; every other layer stays in evaluation mode."""
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    device = next(model.parameters()).device
    for images_BCHW in batches:
        model(images_BCHW.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


class SupernetAccuracy:
    """Top-1 of a subnet in percent, on held-out images."""

    def __init__(self, supernet: Supernet, bn_batches: Sequence[Tensor], held_out: Sequence[Batch]) -> None:
        self._supernet = supernet
        self._bn_batches = bn_batches
        self._held_out = held_out

    def __call__(self, subnet: Subnet) -> float:
        network = extract_network(self._supernet, subnet)
        reestimate_batch_norm(network, self._bn_batches)
        return evaluate(network, self._held_out, self._supernet.num_classes).top1

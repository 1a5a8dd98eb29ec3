"""The accuracy oracle of slimming: a subnet with the supernet's weights, judged without training it.

Batch norm statistics belong to the network that made them, so they are estimated again for every subnet before it is
scored.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from efficientformer.models.create import create_model
from efficientformer.models.network import Network
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet import Supernet, prefix

Batch = tuple[Tensor, Tensor]


def extract_network(supernet: Supernet, subnet: Subnet) -> Network:
    """The subnet as a network of its own, with the supernet's weights cut to its widths.

    Channels last, as its images had better be: on CPUs it is judged in two thirds of the time.
    """
    network = create_model(subnet.architecture, num_classes=supernet.num_classes, resolution=supernet.resolution)
    source = supernet.state_dict()
    state = {}
    for name, tensor in network.state_dict().items():
        state[name] = prefix(source[_supernet_name(name, subnet)], tensor.shape).clone()
    network.load_state_dict(state)
    return network.to(next(supernet.parameters()).device).to(memory_format=torch.channels_last)


@torch.no_grad()
def absorb_network(supernet: Supernet, subnet: Subnet, network: Network) -> None:
    """Inverse of `extract_network`: the weights of the subnet go back to where they were cut from."""
    target = supernet.state_dict()
    for name, tensor in network.state_dict().items():
        prefix(target[_supernet_name(name, subnet)], tensor.shape).copy_(tensor)


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
        self.supernet = supernet
        self._bn_batches = bn_batches
        self._held_out = held_out
        self._num_images = sum(len(labels_B) for _, labels_B in held_out)

    def __call__(self, subnet: Subnet) -> float:
        top1 = self.if_at_least(subnet, -math.inf)
        assert top1 is not None
        return top1

    @torch.inference_mode()
    def if_at_least(self, subnet: Subnet, least_top1: float) -> float | None:
        """Top-1, or None once so many images are wrong that it cannot reach `least_top1`."""
        network = extract_network(self.supernet, subnet)
        reestimate_batch_norm(network, self._bn_batches)
        device, right, left = next(network.parameters()).device, 0, self._num_images
        for images_BCHW, labels_B in self._held_out:
            right += int((network(images_BCHW.to(device)).argmax(dim=1).cpu() == labels_B).sum())
            left -= len(labels_B)
            if 100 * (right + left) / self._num_images < least_top1:
                return None
        return 100 * right / self._num_images

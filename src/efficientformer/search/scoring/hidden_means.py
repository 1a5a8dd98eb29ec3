"""What is cut of an MLP is replaced by its mean, which moves into the next bias (arXiv 2507.12988).

A neuron that hardly varies is then missed by nobody, and of one that does only the variation is lost. It is exact for
constant neurons, also in front of batch norm, since the bias comes before it.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from efficientformer.models.network import Network
from efficientformer.search.ancestor import Ancestor, prefix
from efficientformer.search.scoring.hooked import hooked
from efficientformer.search.subnet import Subnet

BIAS = ".mlp.fc2.bias"


@torch.no_grad()
def hidden_means(network: Network, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Mean of every hidden neuron over images and positions, by the name of the bias behind it; evaluation mode.

    batches: images (B, C, H, W).
    """
    sums: dict[str, list[Tensor]] = {name: [] for name in _biases(network)}
    counts = dict.fromkeys(sums, 0)

    def add(name: str, _: nn.Module, inputs: tuple[Tensor]) -> None:
        (x,) = inputs
        x_NC = x.movedim(1, -1).flatten(0, -2) if x.dim() == 4 else x.flatten(0, 1)
        sums[name].append(x_NC.double().sum(dim=0))
        counts[name] += len(x_NC)

    hooks = [module.register_forward_pre_hook(partial(add, name)) for name, module in _biases(network).items()]
    with hooked(network, hooks):
        for x_BCHW in batches:
            network(x_BCHW.to(next(network.parameters()).device))
    return {name: (torch.stack(of_batches).sum(dim=0) / counts[name]).float() for name, of_batches in sums.items()}


def keep_means(ancestor: Ancestor, subnet: Subnet, means: Mapping[str, Tensor]) -> None:
    """Have the ancestor fold the means of hidden neurons that are cut.

    subnet: what they were measured on. Hidden neurons that it does not have keep the means that they had, at first
        zero.
    """
    known = dict(ancestor.hidden_means.named_buffers())
    for name, mean in means.items():
        source = ancestor.source_name(name, subnet, mean.shape)
        width = ancestor.get_parameter(source.removesuffix("bias") + "weight").shape[1]
        before = known.get(_buffer(source), torch.zeros(width, device=mean.device))
        ancestor.hidden_means.register_buffer(_buffer(source), torch.cat([mean, before[len(mean) :]]))


def expect_means(ancestor: Ancestor, weights: Mapping[str, Tensor]) -> None:
    """Make room for the means that weights of the ancestor have, and for no others, before they are loaded."""
    ancestor.hidden_means, device = nn.Module(), next(ancestor.parameters()).device
    for name, tensor in weights.items():
        group, _, buffer = name.partition(".")
        if group == "hidden_means":
            ancestor.hidden_means.register_buffer(buffer, torch.empty_like(tensor, device=device))


def folded(ancestor: Ancestor, subnet: Subnet, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """For every MLP of a subnet that lost hidden neurons: the name of its bias, and what their means add to it.

    state: tensors of the subnet's network by name.
    """
    means = dict(ancestor.hidden_means.named_buffers())
    for name in state if means else ():
        if name.endswith(BIAS):
            source = ancestor.source_name(name, subnet, state[name].shape)
            mean = means.get(_buffer(source))
            weight = state[name.removesuffix("bias") + "weight"]
            if mean is not None and weight.shape[1] < len(mean):
                whole = ancestor.get_parameter(source.removesuffix("bias") + "weight").detach()
                rows = prefix(whole, torch.Size((weight.shape[0], *whole.shape[1:]))).flatten(1)
                yield name, rows[:, weight.shape[1] :] @ mean[weight.shape[1] :]


def _biases(network: Network) -> dict[str, nn.Module]:
    """The last layer of every MLP, by the name of its bias."""
    return {f"{name}.bias": module for name, module in network.named_modules() if f"{name}.bias".endswith(BIAS)}


def _buffer(name: str) -> str:
    return name.replace(".", "-")

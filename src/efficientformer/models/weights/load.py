"""Weights on disk: our own safetensors files, which rebuild their network, and other people's checkpoints."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor

from efficientformer.errors import RecordError
from efficientformer.models.attention_bias import BiasedAttention, resize_attention_bias
from efficientformer.models.network import Network, load_exactly
from efficientformer.models.weights.naming import our_names
from efficientformer.models.weights_file import read_tensors, read_weights_metadata, write_weights_file

HEADS = ("head.", "head_dist.")


def save_weights(network: Network, path: Path, metadata: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write the parameters and batch norm statistics with everything that `load_network` needs to rebuild the network.

    Raises UsageError for a deploy form, which cannot be rebuilt, and RecordError when the file cannot be written.
    """
    write_weights_file(path, network.state_dict(), {**metadata, **network.about()})


def load_network(path: Path) -> Network:
    """The network of a file that `save_weights` wrote, in training mode. Raises RecordError for any other file."""
    return Network.of(read_weights_metadata(path), read_tensors(path), path)


def load_weights(
    network: Network,
    source: Path | str | Mapping[str, Any],
    *,
    with_head: bool = True,
    resize_bias: bool = False,
) -> None:
    """Load a file or a state dict, in any naming that `convert_state_dict` knows, into a network it fits.

    Two heads load into one as their mean, which gives the same logits.
    with_head: False leaves the classifier heads as they are, to fine-tune on other classes.
    resize_bias: resize attention bias tables that were made for square images of another size.
    Raises RecordError that lists what does not fit; the network is then unchanged.
    """
    tensors = convert_state_dict(source if isinstance(source, Mapping) else read_tensors(Path(source)))
    if not with_head:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEADS)}
        tensors |= {name: tensor for name, tensor in network.state_dict().items() if name.startswith(HEADS)}
    elif network.head_dist is None:
        tensors = with_one_head(tensors)
    if resize_bias:
        tensors = with_resized_bias(network, tensors)
    load_exactly(network, tensors)


def convert_state_dict(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors by our names, from the names of this package, the official release, timm, Transformers or MMPreTrain.

    The state dict may be nested under `model` or `state_dict`, and every name may begin with `module.`. Raises
    RecordError for other names and for values that are not tensors.
    """
    for wrapper in ("state_dict", "model"):
        if isinstance(state_dict.get(wrapper), Mapping):
            state_dict = state_dict[wrapper]
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in state_dict.items()}
    converted = {ours: tensors[theirs] for theirs, ours in our_names(tensors).items()}
    if unknown := [name for name, tensor in converted.items() if not isinstance(tensor, Tensor)]:
        raise RecordError(f"{unknown[0]} of the weights is not a tensor.")
    # In the official V2 layer scales have the shape (C, 1, 1).
    return {name: tensor.flatten() if "layer_scale" in name else tensor for name, tensor in converted.items()}


def with_one_head(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights with the mean of both heads, where there are two."""
    merged = {name: tensor for name, tensor in tensors.items() if not name.startswith("head_dist.")}
    for name in merged:
        other = tensors.get(name.replace("head.", "head_dist.", 1)) if name.startswith("head.") else None
        if other is not None:
            merged[name] = (merged[name] + other) / 2
    return merged


def with_resized_bias(network: Network, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights with attention bias tables resized for the network; they must be for square images."""
    resized = dict(tensors)
    for name, module in network.named_modules():
        if not isinstance(module, BiasedAttention):
            continue
        table_hO = tensors.get(f"{name}.attention_bias")
        if table_hO is not None and table_hO.shape != module.attention_bias.shape:
            side = math.isqrt(table_hO.shape[1])
            if side * side == table_hO.shape[1]:
                resized[f"{name}.attention_bias"] = resize_attention_bias(table_hO.float(), (side, side), module.grid)
    return resized

"""Weights on disk: safetensors of our own, which rebuild their network, and published checkpoints of others."""

import argparse
import json
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from efficientformer.arch.spec import Architecture
from efficientformer.errors import ArchitectureError, RecordError, UsageError
from efficientformer.models.attention_bias import BiasedAttention, resize_attention_bias
from efficientformer.models.naming import our_names
from efficientformer.models.network import Network
from efficientformer.records import atomic_path

HEADS = ("head.", "head_dist.")
_ENTRY = "efficientformer"


def save_weights(network: Network, path: Path, metadata: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write the parameters and batch norm statistics with all that `load_network` needs to rebuild the network.

    Raises UsageError for a deploy form, which cannot be rebuilt, and RecordError when the file cannot be written.
    """
    if isinstance(network.stem.norm1, nn.Identity):
        raise UsageError("A deploy form has no weights file: save the network before fuse, or export the deploy form.")
    about = {
        "architecture": json.dumps(network.architecture.to_json()),
        "num_classes": str(network.num_classes),
        "resolution": json.dumps(network.resolution),
        "in_chans": str(network.in_chans),
    }
    tensors = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(path) as temporary:
        # One entry: the format keeps several in random order, and the same network should make the same file.
        temporary.write_bytes(save(tensors, {_ENTRY: json.dumps({**metadata, **about}, sort_keys=True)}))


def load_network(path: Path) -> Network:
    """The network of a file that `save_weights` wrote, in training mode. Raises RecordError on any other file."""
    about, tensors = read_weights_metadata(path), _read_tensors(path)
    try:
        resolution = json.loads(about["resolution"])
        network = Network(
            Architecture.from_json(json.loads(about["architecture"])),
            num_classes=int(about["num_classes"]),
            resolution=resolution if isinstance(resolution, int) else tuple(resolution),
            in_chans=int(about.get("in_chans", 3)),
            has_distillation_head="head_dist.weight" in tensors,
        )
    except (KeyError, ValueError, TypeError, ArchitectureError, UsageError) as error:
        raise RecordError(
            f"{path} does not say which network it belongs to ({error!r}). Build the network with create_model and "
            "call load_weights."
        ) from error
    load_weights(network, tensors)
    return network


def load_weights(
    network: Network,
    source: Path | str | Mapping[str, Any],
    *,
    with_head: bool = True,
    resize_bias: bool = False,
) -> None:
    """Load a file or a state dict, in any naming that `convert_state_dict` knows, into a network it fits.

    Two heads load into one as their mean, which says what both did. with_head: False leaves the classifier heads as
    they are, to fine-tune on other classes. resize_bias: resize attention bias tables that were made for square images
    of another size. Raises RecordError that names what does not fit; the network is then unchanged.
    """
    tensors = convert_state_dict(source if isinstance(source, Mapping) else _read_tensors(Path(source)))
    if not with_head:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEADS)}
        tensors |= {name: tensor for name, tensor in network.state_dict().items() if name.startswith(HEADS)}
    elif network.head_dist is None:
        tensors = with_one_head(tensors)
    if resize_bias:
        tensors = with_resized_bias(network, tensors)
    _require_fit(network, tensors)
    network.load_state_dict(tensors)


def convert_state_dict(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors by our names, from those of this package, the official release, timm, Transformers or MMPreTrain.

    The state dict may sit under `model` or `state_dict`, and every name may begin with `module.`. Raises RecordError.
    """
    for wrapper in ("state_dict", "model"):
        if isinstance(state_dict.get(wrapper), Mapping):
            state_dict = state_dict[wrapper]
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in state_dict.items()}
    converted = {ours: tensors[theirs] for theirs, ours in our_names(tensors).items()}
    if strangers := [name for name, tensor in converted.items() if not isinstance(tensor, Tensor)]:
        raise RecordError(f"The weights hold something other than a tensor under {strangers[0]}.")
    # The official V2 keeps layer scales as (C, 1, 1).
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
    """The same weights with attention bias tables for the network's size; they were made for square images."""
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


def read_weights_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says about itself. Raises RecordError when it is missing or no such file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            return json.loads(metadata[_ENTRY]) if _ENTRY in metadata else metadata
    except (OSError, SafetensorError, ValueError) as error:
        raise RecordError(f"{path} is not a readable safetensors file ({error}).") from error


def _read_tensors(path: Path) -> dict[str, Any]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Official checkpoints keep their command line beside the weights; the class holds plain values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise RecordError(f"{path} is not a readable weights file ({reason}).") from error
    if not isinstance(content, Mapping):
        raise RecordError(f"{path} holds {type(content).__name__}, not a state dict.")
    return dict(content)


def _require_fit(network: Network, tensors: dict[str, Tensor]) -> None:
    expected = network.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in tensors]
    problems += [f"{name} has no place" for name in tensors if name not in expected]
    for name in expected.keys() & tensors.keys():
        if expected[name].shape != tensors[name].shape:
            problems.append(f"{name} is {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}")
    if problems:
        listed = "; ".join(sorted(problems)[:4]) + (f"; and {len(problems) - 4} more" if len(problems) > 4 else "")
        raise RecordError(
            f"The weights do not fit {network.architecture} with {network.num_classes} classes at resolution "
            f"{network.resolution}: {listed}. Create the network they were made for, whose resolution at_resolution "
            "then changes; resize_bias=True resizes attention_bias, and with_head=False leaves out the classifier."
        )

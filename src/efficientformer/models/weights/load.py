"""Weights on disk: our own safetensors files, which rebuild their network, and other people's checkpoints."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import ArchitectureError, RecordError
from efficientformer.formats.network import DescribedWeights
from efficientformer.formats.values import TaskName
from efficientformer.models.attention_bias import BiasedAttention, resize_attention_bias
from efficientformer.models.network import Network
from efficientformer.models.weights.naming import CLASSES, DENSE_CLASSES, HEADS, NOT_BACKBONE, is_average, our_names
from efficientformer.models.weights_file import naming, read_tensors, read_weights_metadata, write_weights_file
from efficientformer.reading import checked, parse_json, read_record

CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params", "state")
DEEPEST = 8
DESCRIBED = tuple(DescribedWeights.__annotations__)
NO_WEIGHTS = ("attention_bias_idxs", "n_averaged")


class WeightsWarning(UserWarning):
    """What of the weights was left out, or was taken in place of something else."""


@dataclass(frozen=True)
class WeightsFile:
    """Tensors by our names, and what their file says of the network: nothing, in a file of other people's.

    classes: names of the classes, or None where they are unknown. preprocessing: how images were prepared. task: what
    it was trained for; None for classification.
    """

    path: Path
    tensors: dict[str, Tensor]
    resolution: int | Grid | None = None
    in_chans: int | None = None
    classes: list[str] | None = None
    preprocessing: dict[str, Any] | None = None
    task: TaskName | None = None

    @property
    def num_classes(self) -> int:
        """Classes of its head; 0 without one."""
        names = ("head.weight", *(f"{layer}weight" for layer in DENSE_CLASSES))
        return next((len(self.tensors[name]) for name in names if name in self.tensors), 0)

    @property
    def is_dense(self) -> bool:
        """Whether its head is that of a dense task."""
        return any(name.startswith(DENSE_CLASSES) for name in self.tensors)


def read_weights(path: Path) -> WeightsFile:
    """A weights file of ours or of other people's.

    What an older file of ours does not say is taken from the architecture.json in its folder. Raises RecordError.
    """
    path = Path(path)
    with naming(path):
        tensors = convert_state_dict(read_tensors(path))
        about = read_about(path)
        return WeightsFile(path, tensors, **{name: about.get(name) for name in DESCRIBED})


def read_about(path: Path) -> dict[str, Any]:
    """What a weights file of ours says of its network, by `DESCRIBED`; nothing for a file of other people's.

    Raises RecordError when the file cannot be read.
    """
    metadata = read_weights_metadata(path) if Path(path).suffix == ".safetensors" else {}
    if "architecture" not in metadata:
        return {}
    beside = Path(path).with_name("architecture.json")
    record: Any = read_record(beside, dict) if beside.is_file() else {}
    of_this = record.get("architecture") == _value(path, metadata, "architecture")
    about = {name: record.get(name) for name in DESCRIBED} if of_this else {}
    about |= {name: _value(path, metadata, name) for name in DESCRIBED if name in metadata}
    try:
        checked(dict.fromkeys(DESCRIBED) | about, DescribedWeights)
    except ValueError as error:
        raise RecordError(f"{path} cannot be used: of its metadata, {error}. Copy or make it again.") from error
    if isinstance(size := about.get("resolution"), list):
        about["resolution"] = tuple(size)
    return about


def architecture_of(path: Path) -> Architecture:
    """The architecture of a weights file: of ours, what it says; of other people's, the published one that it fits.

    Raises RecordError for a file that cannot be read, or whose network is unknown.
    """
    path = Path(path)
    metadata = read_weights_metadata(path) if path.suffix == ".safetensors" else {}
    if "architecture" in metadata:
        try:
            return Architecture.from_json(_value(path, metadata, "architecture"))
        except ArchitectureError as error:
            raise RecordError(f"{path} is damaged: {error} Copy or make it again.") from error
    with naming(path):
        shapes = _body_shapes(convert_state_dict(read_tensors(path)))
        for architecture in ZOO.values():
            with torch.device("meta"):
                network = Network(architecture, num_classes=1)
            if _body_shapes(network.state_dict()) == shapes:
                return architecture
    raise RecordError(
        f"{path} does not say which network it belongs to, and fits none of {', '.join(ZOO)}. Build the network with "
        "create_model, call load_weights and then save_weights."
    )


def _body_shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Shapes of what depends on neither classes nor resolution."""
    return {
        name: tensor.shape
        for name, tensor in tensors.items()
        if not name.startswith(HEADS) and not name.endswith("attention_bias")
    }


def _value(path: Path, metadata: Mapping[str, str], name: str) -> Any:
    try:
        return parse_json(metadata[name])
    except ValueError as error:
        raise RecordError(f"{path} is damaged: its {name} is no JSON. Copy or make it again.") from error


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
    if isinstance(source, Mapping):
        load_converted(network, convert_state_dict(source), with_head=with_head, resize_bias=resize_bias)
        return
    with naming(Path(source)):
        load_weights(network, read_tensors(Path(source)), with_head=with_head, resize_bias=resize_bias)


def load_converted(network: Network, tensors: dict[str, Tensor], *, with_head: bool, resize_bias: bool) -> None:
    """`load_weights` of tensors by our names."""
    if not with_head:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEADS)}
        tensors |= {name: tensor for name, tensor in network.state_dict().items() if name.startswith(HEADS)}
    elif network.head_dist is None:
        tensors = with_one_head(tensors)
    if resize_bias:
        tensors = with_resized_bias(network, tensors)
    network.load_exactly(tensors)


def load_backbone(network: Network, source: Path | str | Mapping[str, Any]) -> list[str]:
    """Load a file or a state dict of a network with another head: its stem and stages, bias tables resized.

    Head and norms in front of it are taken too where all of them fit, or all but what has one output a class: of a head
    with the same options. Returns the names, as this package has them, of what is not taken. Raises RecordError for a
    stem or stages that do not fit; the network is then unchanged.
    """
    if not isinstance(source, Mapping):
        with naming(Path(source)):
            return load_backbone(network, read_tensors(Path(source)))
    tensors, own = convert_state_dict(source), network.state_dict()
    tensors = tensors if network.head_dist is not None else with_one_head(tensors)
    theirs, ours = ({name: of[name].shape for name in of if name.startswith(NOT_BACKBONE)} for of in (tensors, own))
    differing = [name for name in theirs if theirs[name] != ours.get(name)]
    is_same_head = theirs.keys() == ours.keys() and all(name.startswith(CLASSES) for name in differing)
    left_out = differing if is_same_head else list(theirs)
    taken = {name: tensor for name, tensor in tensors.items() if name not in left_out}
    kept = {name: tensor for name, tensor in own.items() if name.startswith(NOT_BACKBONE)}
    network.load_exactly(kept | with_resized_bias(network, taken))
    return left_out


def convert_state_dict(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors by our names, from the names of this package, the official release, timm, Transformers or MMPreTrain.

    The state dict may be nested in containers such as `model` or `state_dict_ema`, and every name may begin with
    `module.`, `_orig_mod.`, `backbone.` and the like. A moving average is preferred. Warns of what is preferred and of
    what is left out. Raises RecordError for other names and for values that are not tensors.
    """
    tensors = {str(name): tensor for name, tensor in _unpacked(state_dict).items()}
    names = our_names(tensors)
    if left_out := [name for name in tensors if name not in names and not name.endswith(NO_WEIGHTS)]:
        warn_of_weights(f"Left out of the weights, since they are outside of the network: {listed(left_out)}.")
    if averages := sorted({name.split(".")[0] for name in names if is_average(name.split(".")[0])}):
        warn_of_weights(f"The weights loaded are a moving average, {averages[0]}.")
    if unknown := [theirs for theirs in names if not isinstance(tensors[theirs], Tensor)]:
        raise RecordError(f"{unknown[0]} of the weights is not a tensor.")
    converted = {ours: tensors[theirs] for theirs, ours in names.items()}
    # In the official V2 layer scales have the shape (C, 1, 1).
    return {name: tensor.flatten() if "layer_scale" in name else tensor for name, tensor in converted.items()}


def _unpacked(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state dict inside of containers of a checkpoint, its moving average where it has one."""
    for _ in range(DEEPEST):
        inner = {name: value for name, value in content.items() if isinstance(value, Mapping) and value}
        averages = [name for name in inner if is_average(str(name)) and _has_tensors(inner[name])]
        known = [name for name in CONTAINERS if name in inner]
        if not averages and not known:
            break
        if averages and known:
            warn_of_weights(f"The weights loaded are the moving average, {averages[0]}, not {known[0]}.")
        content = inner[(averages or known)[0]]
    return content


def _has_tensors(content: Mapping[str, Any]) -> bool:
    return any(isinstance(value, Tensor | Mapping) for value in content.values())


def listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def warn_of_weights(text: str) -> None:
    warnings.warn(text, WeightsWarning, stacklevel=3)


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

"""Published networks of any architecture as classifiers of a run: with their weights, kept, and as they are deployed.

Networks that this package has are its own, as `train --init` fine-tunes them; all others are timm's.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from efficientformer.analysis.comparison.build_network import create_timm, num_params, timm_deploy_form
from efficientformer.analysis.comparison.network_source import published_source
from efficientformer.arch.resolution import Resolution, grid_of_input, resolution_of, resolution_text
from efficientformer.errors import RecordError, UsageError
from efficientformer.models.attention_bias import resize_attention_bias
from efficientformer.models.weights.load import load_network
from efficientformer.models.weights_file import (
    read_tensors,
    read_weights_metadata,
    reason_in_one_line,
    write_weights_file,
)
from efficientformer.pipeline.networks.pretrained import find_weights, pretrained_network
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.reading import parse_json
from efficientformer.tasks.teacher_files import state_dict_of
from efficientformer.training.loop import seed_initial_weights

TIMM = "timm"
"""Entry of a weights file's metadata: which network of timm's its weights are of."""
GIVE_OWN = "Give its own weights with --reference-weights, for several networks a folder with NAME.safetensors."
OFFLINE = "Offline, give a file of them: --reference-weights FILE"


def published_classifier(workspace: Workspace, name: str, file: Path | None) -> nn.Module:
    """A published network with its weights and a new head for the run's classes, drawn from the seed.

    name: of this package or of timm, with or without a tag.
    file: of its weights, by timm's names; None has them downloaded.

    Raises UsageError for weights that cannot be downloaded or do not exist at the run's input size, RecordError for a
    file that cannot be read or does not fit.
    """
    source = published_source(name)
    if source.kind == "zoo":
        try:
            weights = find_weights(source.target, file)
        except RecordError as error:
            raise UsageError(f"{error} Here it is --reference-weights FILE.") from error
        return pretrained_network(workspace, source.target, weights)[0]
    options = {"drop_path_rate": rate} if (rate := workspace.settings.train.drop_path_rate) else {}
    network: Any = _with_weights(workspace, source.target, file, options)
    seed_initial_weights(workspace.settings.seed)
    network.reset_classifier(len(workspace.dataset.classes))
    return network


def _with_weights(workspace: Workspace, name: str, file: Path | None, options: dict[str, Any]) -> nn.Module:
    size = _other_size(name, workspace.settings.resolution)
    try:
        return timm_with_weights(name, size, file, options)
    except RecordError:
        raise
    except Exception as error:  # the libraries between here and the hub raise many kinds
        if isinstance(error, TypeError) and options:
            workspace.console.say(f"{name} has no drop path: it is trained with train.drop_path_rate 0")
            return _with_weights(workspace, name, file, {})
        heading, _, mismatch = str(error).partition("\n")
        reason = mismatch.strip().partition("\n")[0][:150] or heading  # PyTorch's heading has none
        if file is not None:
            raise RecordError(f"{file} does not fit {name} ({reason}). {GIVE_OWN}") from error
        if mismatch and isinstance(error, RuntimeError):
            size_text = resolution_text(workspace.settings.resolution)
            raise RecordError(
                f"The published weights of {name} do not fit images of {size_text} px ({reason}). Name another network "
                "with --reference NAME."
            ) from error
        raise UsageError(
            f"The weights of {name} could not be downloaded and are not in the local cache "
            f"({reason_in_one_line(error)}). {OFFLINE}, or leave the comparison out with --reference none."
        ) from error


def timm_with_weights(
    name: str, size: Resolution | None, file: Path | None, options: Mapping[str, Any] = MappingProxyType({})
) -> nn.Module:
    """A network of timm with its weights and their head, for images of `size` or of its own size. Raises RecordError
    for a file that cannot be read, and anything that the libraries between here and the hub raise."""
    if file is None and size is None:
        return create_timm(name, None, pretrained=True, **options)
    weights = create_timm(name, None, pretrained=True).state_dict() if file is None else _tensors(file)
    return _loaded(name, size, weights, options)


def _tensors(file: Path) -> dict[str, Any]:
    return state_dict_of(read_tensors(file))


def _loaded(name: str, size: Resolution | None, weights: dict[str, Any], options: Mapping[str, Any]) -> nn.Module:
    """The network with these weights and the head that they have. All of them are loaded, or an error is raised."""
    import timm

    about = timm.get_pretrained_cfg(name, allow_unregistered=True)
    heads = about.classifier if about else ""
    head = weights.get(f"{heads if isinstance(heads, str) else (heads or [''])[0]}.weight")
    classes = {"num_classes": len(head)} if head is not None else {}
    weights = _with_resized_biases(weights, create_timm(name, size, **classes).state_dict())
    # timm takes other names of the same weights, and resizes position embeddings.
    overlay = {**classes, "state_dict": weights, "label_offset": 0}
    return create_timm(name, size, pretrained=True, pretrained_cfg_overlay=overlay, **classes, **options)


def _with_resized_biases(weights: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """The same weights with tables of attention biases, which timm does not resize, as they are expected: those of
    LeViT and its descendants have a row of offsets (y, x) for square maps."""
    resized = dict(weights)
    for name, table_hO in weights.items():
        if name.endswith("attention_biases") and name in expected and table_hO.shape != expected[name].shape:
            own, theirs = math.isqrt(expected[name].shape[1]), math.isqrt(table_hO.shape[1])
            if (own**2, theirs**2) == (expected[name].shape[1], table_hO.shape[1]):
                resized[name] = resize_attention_bias(table_hO.float(), (theirs, theirs), (own, own))
    return resized


def _other_size(name: str, resolution: Resolution) -> Resolution | None:
    """The input size, unless it is the network's own."""
    import timm

    about = timm.get_pretrained_cfg(name, allow_unregistered=True)
    own = tuple(about.input_size[1:]) if about else None
    return None if own == grid_of_input(resolution) else resolution


def save_timm(network: nn.Module, name: str, path: Path, resolution: Resolution, about: Mapping[str, str]) -> None:
    """Write the weights of a classifier of timm's, by its names, with what `load_classifier` needs to rebuild it."""
    num_classes: int = network.num_classes  # type: ignore[assignment]
    own = {TIMM: name, "resolution": json.dumps(resolution), "num_classes": str(num_classes)}
    write_weights_file(path, network.state_dict(), {**about, **own})


def load_classifier(path: Path) -> nn.Module:
    """The network of a weights file that a run wrote, of this package or of timm. Raises RecordError."""
    metadata = read_weights_metadata(path)
    if TIMM not in metadata:
        return load_network(path)
    try:
        name, resolution = metadata[TIMM], resolution_of(parse_json(metadata["resolution"]))
        network = create_timm(name, _other_size(name, resolution), num_classes=int(metadata["num_classes"]))
        network.load_state_dict(read_tensors(path))
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise RecordError(f"{path} cannot be used ({reason_in_one_line(error)}). Make it again.") from error
    return network


def deployed_timm(network: nn.Module, input_shape: tuple[int, ...]) -> tuple[nn.Module, dict[str, Any]]:
    """A classifier of timm's in deploy form, and a part of the record of its export."""
    module, form = timm_deploy_form(network.eval(), input_shape)
    return module, {"deploy_form": form, "num_params": num_params(module)}

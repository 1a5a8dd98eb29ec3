"""Networks by name or architecture, fresh or with published weights."""

from pathlib import Path
from typing import Any

from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import ArchitectureError, UsageError
from efficientformer.models.hub import PUBLISHED_PREPROCESSING, published_weights
from efficientformer.models.network import Network
from efficientformer.models.weights.load import (
    WeightsFile,
    listed,
    load_backbone,
    load_converted,
    read_weights,
    warn_of_weights,
)
from efficientformer.models.weights_file import naming


def create_model(
    architecture: Architecture | str,
    *,
    pretrained: bool | str | Path = False,
    revision: str | None = None,
    with_head: bool | None = None,
    **options: Any,
) -> Network:
    """A network of an architecture, or of a name in `arch.zoo.ZOO`.

    pretrained: True for the published weights of that name, which are downloaded once, or the path of a weights file.
        The number of classes, the resolution and the preprocessing are then the file's, unless they are given.
        Attention bias tables are resized to the network's resolution.
    revision: version of the published weights.
    with_head: None loads the heads if they have the network's number of classes, and otherwise warns that they are new.
        True refuses weights whose heads do not fit, False keeps new heads. Of weights of a network with another kind of
        head stem and stages are loaded.
    options: keyword arguments of `Network`.

    Raises ArchitectureError for an unknown name, UsageError for options that `Network` refuses, RecordError for
    weights that cannot be downloaded or read, or do not fit.
    """
    name = architecture if isinstance(architecture, str) else None
    if name is not None and name not in ZOO:
        raise ArchitectureError(f"No network is called {name!r}; the names are {', '.join(ZOO)}.")
    if pretrained is True and name is None:
        raise UsageError(
            "pretrained=True needs the name of a published network, such as 'efficientformer_l1'; for an "
            "Architecture give the path of a weights file."
        )
    architecture = ZOO[name] if name is not None else architecture
    assert isinstance(architecture, Architecture)
    if not pretrained:
        return Network(architecture, **options)
    path = published_weights(name, revision=revision) if pretrained is True and name else Path(str(pretrained))
    weights = read_weights(path)
    network = Network(architecture, **{**_described(weights), **options})
    with naming(path):
        if with_head is not True and (architecture.head is not None or weights.is_dense):
            _load_dense(network, weights, warns=with_head is None)
        else:
            _load_classifier(network, weights, with_head)
    preprocessing = weights.preprocessing or (PUBLISHED_PREPROCESSING if name is not None else None)
    if preprocessing is not None:
        side = network.resolution
        network.preprocessing = {**preprocessing, "resolution": side if isinstance(side, int) else list(side)}
    return network


def _load_classifier(network: Network, weights: WeightsFile, with_head: bool | None) -> None:
    fits = network.num_classes == weights.num_classes
    if with_head is None and network.num_classes and not fits:
        warn_of_weights(
            f"The head is new: the network has {network.num_classes} classes, {weights.path} has {weights.num_classes}."
        )
    load_converted(network, weights.tensors, with_head=fits if with_head is None else with_head, resize_bias=True)


def _load_dense(network: Network, weights: WeightsFile, *, warns: bool) -> None:
    """Where the network or the one of the weights has a dense head."""
    left_out = load_backbone(network, weights.tensors)
    if warns and left_out:
        warn_of_weights(f"{weights.path} has another head, so these of its tensors are left out: {listed(left_out)}.")


def _described(weights: WeightsFile) -> dict[str, Any]:
    """Options of the network that the weights were made for, as far as their file knows them."""
    known = {"num_classes": weights.num_classes, "resolution": weights.resolution, "in_chans": weights.in_chans}
    return {name: value for name, value in known.items() if value is not None}

"""Networks by name or architecture, fresh or with published weights."""

from pathlib import Path
from typing import Any

from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import ArchitectureError, UsageError
from efficientformer.models.hub import PUBLISHED_PREPROCESSING, published_weights
from efficientformer.models.network import Network
from efficientformer.models.weights.load import load_weights

PUBLISHED_CLASSES = 1000


def create_model(
    architecture: Architecture | str,
    *,
    pretrained: bool | str | Path = False,
    revision: str | None = None,
    with_head: bool = True,
    **options: Any,
) -> Network:
    """A network of an architecture, or of a name in `arch.zoo.ZOO`.

    pretrained: True for the published weights of that name, which are downloaded once, or the path of a weights file.
        Attention bias tables are resized to the network's resolution.
    revision: version of the published weights.
    with_head: False keeps the heads' new weights, as any number of classes but 1000 does.
    options: keyword arguments of `Network`.

    Raises ArchitectureError for an unknown name, UsageError for options that `Network` refuses, RecordError for
    weights that cannot be downloaded or read, or do not fit.
    """
    name = architecture if isinstance(architecture, str) else None
    if name is not None and name not in ZOO:
        raise ArchitectureError(f"No network is called {name!r}; the names are {', '.join(ZOO)}.")
    network = Network(ZOO[name] if name is not None else architecture, **options)  # type: ignore[arg-type]
    if not pretrained:
        return network
    if pretrained is True and name is None:
        raise UsageError(
            "pretrained=True needs the name of a published network, such as 'efficientformer_l1'; for an "
            "Architecture give the path of a weights file."
        )
    path = published_weights(name, revision=revision) if pretrained is True and name else Path(str(pretrained))
    load_weights(network, path, with_head=with_head and network.num_classes == PUBLISHED_CLASSES, resize_bias=True)
    network.preprocessing = dict(PUBLISHED_PREPROCESSING)
    return network

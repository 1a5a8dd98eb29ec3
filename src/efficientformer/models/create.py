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
    """A network of an architecture, or of a name of `arch.zoo.ZOO`; `options` are those of `Network`.

    pretrained: True takes the published weights of that name, downloaded once (`revision` names a version of them), a
    path those of that file. They are brought to the network's resolution; heads of other than 1000 classes stay fresh,
    and so do all of them without `with_head`.
    Raises ArchitectureError on an unknown name, UsageError on sizes that no network can have, RecordError on weights
    that cannot be had or do not fit.
    """
    name = architecture if isinstance(architecture, str) else None
    if name is not None and name not in ZOO:
        raise ArchitectureError(f"No network is called {name!r}; the names are {', '.join(ZOO)}.")
    network = Network(ZOO[name] if name is not None else architecture, **options)  # type: ignore[arg-type]
    if not pretrained:
        return network
    if pretrained is True and name is None:
        raise UsageError(
            "Published weights belong to a name, such as efficientformer_l1; give the path of a file instead."
        )
    path = published_weights(name, revision=revision) if pretrained is True and name else Path(str(pretrained))
    load_weights(network, path, with_head=with_head and network.num_classes == PUBLISHED_CLASSES, resize_bias=True)
    network.preprocessing = dict(PUBLISHED_PREPROCESSING)
    return network

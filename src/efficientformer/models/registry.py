"""Our networks among timm's: after `import efficientformer.models.registry`, timm's `create_model` knows them.

    timm.create_model("ef_l1", pretrained=True)
    timm.create_model("ef_v2_s0", features_only=True, in_chans=1)
    timm.create_model("ef_network", architecture="runs/mine/networks/8ms/architecture.json", num_classes=10)

Code that builds networks through timm can build these: timm's training scripts, segmentation libraries, Transformers'
backbones. timm's own networks keep their names.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from efficientformer.arch.resolution import grid_of_input
from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import ArchitectureError, RecordError, UsageError
from efficientformer.formats.files import read_described
from efficientformer.models.hub import PUBLISHED_PREPROCESSING
from efficientformer.models.network import Network
from efficientformer.models.weights.load import (
    HEADS,
    convert_state_dict,
    warn_of_weights,
    with_one_head,
    with_resized_bias,
)

NAMES = {f"ef_{name.removeprefix('efficientformer').removeprefix('_')}": name for name in ZOO}
ANY_ARCHITECTURE = "ef_network"

_CFG = {
    "num_classes": 1000,
    "input_size": (3, 224, 224),
    "fixed_input_size": True,
    "pool_size": None,
    "crop_pct": PUBLISHED_PREPROCESSING["crop_pct"],
    "interpolation": PUBLISHED_PREPROCESSING["interpolation"],
    "mean": tuple(PUBLISHED_PREPROCESSING["mean"]),
    "std": tuple(PUBLISHED_PREPROCESSING["std"]),
    "classifier": "head",
    "first_conv": "stem.conv1",
    "license": "apache-2.0",
}
default_cfgs = generate_default_cfgs(
    {
        ANY_ARCHITECTURE: dict(_CFG),
        **{
            f"{ours}.snap_dist_in1k": {**_CFG, "hf_hub_id": f"timm/{name}.snap_dist_in1k"}
            for ours, name in NAMES.items()
        },
    }
)


def _build(
    *,
    architecture: Architecture,
    img_size: int | tuple[int, int] = 224,
    distillation: bool = False,
    global_pool: str = "avg",
    **options: Any,
) -> Network:
    """`Network` with timm's names of its options. Raises UsageError for any pooling but the mean."""
    if global_pool not in ("avg", ""):
        raise UsageError(f"Only global_pool='avg' is supported, not {global_pool!r}.")
    return Network(architecture, resolution=img_size, has_distillation_head=distillation, **options)


def _fitted(state_dict: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
    tensors = convert_state_dict(state_dict)
    return with_resized_bias(network, tensors if network.head_dist is not None else with_one_head(tensors))


def _pretrained(state_dict: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
    """timm takes out a head whose number of classes is not that of its config, so one that fits is loaded here."""
    tensors = _fitted(state_dict, network)
    own = network.state_dict()
    heads = {name: tensor for name, tensor in tensors.items() if name.startswith(HEADS) and name in own}
    if heads and all(own[name].shape == tensor.shape for name, tensor in heads.items()):
        network.load_state_dict({**own, **heads})
    elif network.num_classes:
        has = len(tensors["head.weight"]) if "head.weight" in tensors else "no"
        warn_of_weights(f"The head is new: the network has {network.num_classes} classes, the weights have {has}.")
    return tensors


def _convert(
    network: nn.Module, state_dict: dict[str, Tensor], prefix: str, metadata: Any, strict: bool, *_: Any
) -> None:
    """Before a network loads a state dict, as timm does for `checkpoint_path`: names, prefixes and containers as
    `load_weights` knows them. Raises RecordError that lists what does not fit."""
    assert isinstance(network, Network)
    if prefix:  # a part of another module, whose names are its own
        return
    if state_dict.keys() != network.state_dict().keys():
        tensors = _fitted(state_dict, network)
        state_dict.clear()
        state_dict.update(tensors)
    if strict:
        network.require_fit(state_dict)


def _create(variant: str, architecture: Architecture, pretrained: bool, options: dict[str, Any]) -> Any:
    model = build_model_with_cfg(
        _build,
        variant,
        pretrained,
        architecture=architecture,
        pretrained_filter_fn=_pretrained,
        feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"},
        **options,
    )
    if isinstance(model, Network):
        model.register_load_state_dict_pre_hook(_convert)
    return model


def _register(ours: str, name: str) -> None:
    def create(pretrained: bool = False, **options: Any) -> Any:
        return _create(ours, ZOO[name], pretrained, options)

    create.__name__ = create.__qualname__ = ours
    create.__doc__ = f"The published {name}."
    register_model(create)


for _ours, _name in NAMES.items():
    _register(_ours, _name)


@register_model
def ef_network(pretrained: bool = False, *, architecture: Architecture | str | Path, **options: Any) -> Any:
    """A network that slimming found: an Architecture, or the architecture.json that a run wrote, whose number of
    classes, resolution and preprocessing it then has unless others are given.

    Raises ArchitectureError for a file that does not contain one.
    """
    if not isinstance(architecture, Architecture):
        try:
            architecture, described = read_described(Path(architecture))
        except RecordError as error:
            raise ArchitectureError(str(error)) from error
        options = _described(described, options)
    return _create(ANY_ARCHITECTURE, architecture, pretrained, options)


def _described(record: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Options of timm's, with those that an architecture.json knows in place of timm's defaults."""
    size, prepared = record.get("resolution"), record.get("preprocessing") or {}
    grid = grid_of_input(size) if size else None
    known = {"img_size": grid if isinstance(size, list) else size, "num_classes": record.get("num_classes")}
    cfg = {"mean": prepared.get("mean"), "std": prepared.get("std"), "crop_pct": prepared.get("crop_ratio")}
    overlay = {name: tuple(value) if isinstance(value, list) else value for name, value in cfg.items() if value}
    overlay |= {"input_size": (options.get("in_chans", 3), *grid)} if grid else {}
    return {
        **{name: value for name, value in known.items() if value is not None},
        **options,
        "pretrained_cfg_overlay": overlay | (options.get("pretrained_cfg_overlay") or {}),
    }

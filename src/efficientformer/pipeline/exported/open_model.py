"""What `evaluate MODEL` scores: an exported file, a weights file, or a published network, with what is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from efficientformer.analysis.comparison.network_source import require_published
from efficientformer.arch.resolution import resolution_of
from efficientformer.data.dataset import IMAGENET_MEAN, IMAGENET_STD
from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import EfficientFormerError, RecordError, UsageError
from efficientformer.formats.values import TaskName
from efficientformer.models.create import create_model
from efficientformer.models.hub import PUBLISHED_PREPROCESSING
from efficientformer.models.weights.load import architecture_of, read_about
from efficientformer.models.weights_file import read_weights_metadata, reason_in_one_line
from efficientformer.paths import usable_path
from efficientformer.pipeline.exported.open_file import EXPORTED, open_file
from efficientformer.pipeline.networks.published import TIMM, load_classifier, timm_with_weights
from efficientformer.pipeline.run.settings import Settings
from efficientformer.reading import parse_json
from efficientformer.tasks.classification.columns import imagenet_classes
from efficientformer.tasks.exported import ExportedNetwork

WEIGHTS = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class ScoredModel:
    """A network that is scored.

    title: in messages. path: of its file; None for a published network.
    classes: names of its outputs, in their order. notes: what is to be said of it, a line each.
    is_published: whether it was trained elsewhere, so that all images of a folder may score it.
    """

    module: nn.Module
    title: str
    path: Path | None
    classes: list[str]
    preprocessing: Preprocessing
    task: TaskName = "classification"
    notes: tuple[str, ...] = ()
    is_published: bool = False


def open_model(model: Path | str, settings: Settings, weights: Path | None = None) -> ScoredModel:
    """The network of MODEL: `.onnx` or `.xml`; weights of this package, or of other people; or a published name.

    weights: a file of the published network's weights; by default they are downloaded. Raises UsageError for what is
    neither, RecordError for a file that cannot be used or does not say what is needed.
    """
    path = usable_path(model, "model")
    is_file = path.suffix.lower() in (*EXPORTED, *WEIGHTS) or path.exists()
    if is_file and not path.is_file():
        raise UsageError(f"{path} is not a file. Give a model.onnx or the weights of a network, or a published name.")
    if weights is not None and is_file:
        raise UsageError(f"--weights is the file of a published network's weights, but {path} is a file. Leave it out.")
    if not is_file:
        return _published(str(model), settings, weights)
    if path.suffix.lower() in WEIGHTS:
        return _of_weights(path, settings)
    if path.suffix.lower() not in EXPORTED:
        raise UsageError(f"{path} is none of the files that are scored: {', '.join((*EXPORTED, *WEIGHTS))}.")
    network = ExportedNetwork(open_file(path, settings.threads))
    return ScoredModel(network, path.name, path, network.classes, network.preprocessing, network.task)


def _of_weights(path: Path, settings: Settings) -> ScoredModel:
    """Of a run, which say their classes and preprocessing; or of a published network, which they fit."""
    metadata = read_weights_metadata(path) if path.suffix == ".safetensors" else {}
    if TIMM not in metadata and not read_about(path):
        architecture = architecture_of(path)
        network = create_model(architecture, pretrained=path, with_head=True, **_size(settings))
        return _published_zoo(network, path.name, path)
    about: Mapping[str, Any] = (
        {name: parse_json(metadata[name]) for name in ("classes", "preprocessing") if name in metadata}
        if TIMM in metadata
        else read_about(path)
    )
    if missing := [name for name in ("classes", "preprocessing") if not about.get(name)]:
        raise RecordError(f"{path} does not say its {' and '.join(missing)}. Score the model.onnx of its run instead.")
    preprocessing = Preprocessing.from_json(about["preprocessing"])
    module, classes = load_classifier(path), list(about["classes"])
    return ScoredModel(module, path.name, path, classes, preprocessing, about.get("task") or "classification")


def _published(name: str, settings: Settings, weights: Path | None) -> ScoredModel:
    source = require_published(name)
    file = None if weights is None else usable_path(weights, "--weights")
    if file is not None and not file.is_file():
        raise UsageError(f"--weights {file} is not a file.")
    if source.kind == "zoo":
        network = create_model(source.target, pretrained=file or True, with_head=True, **_size(settings))
        return _published_zoo(network, name, file)
    size = _size(settings).get("resolution")
    try:
        network: Any = timm_with_weights(source.target, size, file)
    except EfficientFormerError:
        raise
    except Exception as error:  # the libraries between here and the hub raise many kinds
        if file is not None:
            raise RecordError(f"{file} does not fit {name} ({reason_in_one_line(error)}).") from error
        raise UsageError(
            f"The weights of {name} could not be downloaded and are not in the local cache "
            f"({reason_in_one_line(error)}). Offline, give a file of them: --weights FILE."
        ) from error
    from timm.data import resolve_model_data_config  # type: ignore[attr-defined]

    config = resolve_model_data_config(network)
    preprocessing = Preprocessing(
        resolution_of(size or list(config["input_size"][1:])),
        tuple(config["mean"]),
        tuple(config["std"]),
        config["crop_pct"],
        is_stretched=config["crop_mode"] == "squash",
    )
    other = config["interpolation"]
    notes = () if other == "bicubic" else (f"{name} was trained on images resized {other}; here they are bicubic",)
    return _of_imagenet(network, name, file, network.num_classes, preprocessing, notes)


def _published_zoo(network: Any, title: str, path: Path | None) -> ScoredModel:
    about = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, **PUBLISHED_PREPROCESSING, **(network.preprocessing or {})}
    crop_ratio = about.get("crop_ratio", about["crop_pct"])
    preprocessing = Preprocessing(network.resolution, tuple(about["mean"]), tuple(about["std"]), crop_ratio)
    return _of_imagenet(network, title, path, network.num_classes, preprocessing)


def _of_imagenet(
    network: Any, title: str, path: Path | None, num_classes: int, preprocessing: Preprocessing, notes: Any = ()
) -> ScoredModel:
    classes = imagenet_classes(num_classes)
    if classes is None:
        raise RecordError(
            f"The {num_classes:,} classes of {title} have no names, and are not ImageNet's. Export it with its class "
            "names (docs/evaluation.md), or fine-tune it: efficientformer train --init."
        )
    return ScoredModel(network, title, path, classes, preprocessing, notes=tuple(notes), is_published=True)


def _size(settings: Settings) -> dict[str, Any]:
    """That asked for; by default it is the weights' own."""
    return {"resolution": settings.resolution} if "resolution" in settings.model_fields_set else {}

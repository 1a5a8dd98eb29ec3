"""Open a teacher by name or from a file: timm's networks, weights, ONNX and TorchScript. Nothing is unpickled."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from efficientformer.arch.resolution import resolution_of
from efficientformer.arch.zoo import ZOO
from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import EfficientFormerError, RecordError, UsageError
from efficientformer.formats.values import TaskName
from efficientformer.models.create import create_model
from efficientformer.models.weights.load import load_network, read_about, read_weights
from efficientformer.models.weights_file import read_tensors, read_weights_metadata, reason_in_one_line
from efficientformer.reading import parse_json
from efficientformer.tasks.teacher_onnx import OnnxClassifier
from efficientformer.tasks.teacher_source import ONNX, TORCHSCRIPT, WEIGHTS, TeacherSource
from efficientformer.tasks.teachers import WITHOUT, Teacher, View, class_order, other_classes, other_task
from efficientformer.tasks.words import task_words

KINDS = ", ".join((*WEIGHTS, *ONNX, *TORCHSCRIPT))
CONTAINERS = ("state_dict", "model")


class Opened:
    """A teacher's network, and what its file says of it.

    classes: names of its classes, in its order; None where they are unknown.
    preprocessing: how its images are prepared; None for images as the student's.
    task: what it was trained for; None where that is unknown.
    """

    def __init__(
        self,
        module: nn.Module,
        classes: Sequence[str] | None = None,
        preprocessing: Preprocessing | None = None,
        task: TaskName | None = None,
    ) -> None:
        self.module, self.classes, self.preprocessing, self.task = module, classes, preprocessing, task


def open_teacher(
    text: str, classes: Sequence[str], preprocessing: Preprocessing, task: TaskName = "classification"
) -> Teacher:
    """The teacher that a setting names, for images of these classes with this preprocessing.

    text: `NAME`, a network of timm's with its published weights; `NAME:FILE`, the same with the weights of a file; or
        `FILE`: weights that a run wrote, ONNX or TorchScript.

    task: what the student's labels ask for. A teacher that is known to answer something else is refused.

    Classes are put into our order where both have names; else their number has to be the same. Raises UsageError for a
    teacher of other classes or another task and for weights that cannot be downloaded, RecordError for a file that
    cannot be used.
    """
    source = TeacherSource.parse(text)
    opened = _of_file(source.file) if source.name is None and source.file else _of_timm(source, len(classes))
    if opened.task not in (None, task):
        raise UsageError(other_task(text, task_words(opened.task), task_words(task)))
    order = class_order(text, opened.classes, classes)
    view = View(preprocessing, opened.preprocessing) if opened.preprocessing else None
    teacher = Teacher(opened.module, view=view, order=order, name=text)
    unordered = Teacher(opened.module, view=view, name=text)
    try:
        unordered.require_classes(len(classes), torch.zeros(1, 3, *preprocessing.grid), task)
    except EfficientFormerError:
        raise
    except Exception as error:  # of a network of other people's anything may be raised
        raise RecordError(
            f"Teacher {text} cannot be run on an image of {preprocessing.grid[0]} x {preprocessing.grid[1]} pixels "
            f"({reason_in_one_line(error)}). Export it for this size."
        ) from error
    return teacher


def _of_file(path: Path) -> Opened:
    if not path.is_file():
        raise UsageError(f"Teacher {path} does not exist. Give the path of an existing file, {WITHOUT}.")
    match path.suffix.lower():
        case suffix if suffix in WEIGHTS:
            return _of_weights(path)
        case suffix if suffix in ONNX:
            module = OnnxClassifier(path)
            return Opened(module, module.classes, module.preprocessing, module.task)
        case suffix if suffix in TORCHSCRIPT:
            return Opened(_torchscript(path))
    raise UsageError(f"Teacher {path} is none of the files that can teach: {KINDS}.")


def _of_weights(path: Path) -> Opened:
    about = read_about(path)
    if not about:
        raise RecordError(
            f"Teacher {path} does not say which network its weights are of. Name it: --teacher NAME:{path.name}, with "
            "a name of timm's."
        )
    task = task_words(about.get("task")).name
    return Opened(load_network(path), about.get("classes"), _preprocessing(about.get("preprocessing")), task)


def _preprocessing(record: Mapping[str, Any] | None) -> Preprocessing | None:
    if record is None:
        return None
    try:
        mean, std = (tuple(map(float, record[name])) for name in ("mean", "std"))
        return Preprocessing(resolution_of(record["resolution"]), mean, std)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"The preprocessing of the teacher cannot be used: {error}.") from error


def _torchscript(path: Path) -> nn.Module:
    try:
        with warnings.catch_warnings():
            # PyTorch announces a successor of the format; files of it are still about.
            warnings.simplefilter("ignore", FutureWarning)
            return torch.jit.load(path, map_location="cpu")
    except Exception as error:  # of a damaged file a reader may raise anything
        raise RecordError(
            f"Teacher {path} is no TorchScript file ({reason_in_one_line(error)}). If it holds weights alone, name "
            f"their network: --teacher NAME:{path.name}, with a name of timm's."
        ) from error


def _of_timm(source: TeacherSource, num_classes: int) -> Opened:
    import timm  # seconds to import
    from timm.data import resolve_model_data_config  # type: ignore[attr-defined]

    name, file = source.name or "", source.file
    if file is not None and not file.is_file():
        raise UsageError(f"The weights {file} of teacher {name} do not exist. Give the path of an existing file.")
    if not name.startswith(("hf-hub:", "hf_hub:")) and not timm.is_model(name) and name not in ZOO:
        raise UsageError(
            f"Teacher {name} is neither a file ({KINDS}) nor a network of timm, such as regnety_160.deit_in1k."
        )
    if file is not None and name in ZOO:
        weights = read_weights(file)
        _require(name, weights.num_classes, num_classes)
        network = create_model(name, pretrained=file)
        return Opened(network, weights.classes, _preprocessing(network.preprocessing))
    module: Any = _published(name) if file is None else _with_weights(name, file, num_classes)
    config = resolve_model_data_config(module)
    preprocessing = Preprocessing(resolution_of(list(config["input_size"][1:])), config["mean"], config["std"])
    return Opened(module, _class_names(module) if file is None else _named_in(file), preprocessing)


def _published(name: str) -> nn.Module:
    import timm

    try:
        return timm.create_model(name, pretrained=True)
    except Exception as error:  # the libraries between here and the hub raise many kinds
        raise UsageError(
            f"The weights of teacher {name} could not be downloaded and are not in the local cache "
            f"({reason_in_one_line(error)}). Offline, give a file of them, --teacher {name}:FILE, {WITHOUT}."
        ) from error


def _with_weights(name: str, file: Path, num_classes: int) -> nn.Module:
    import timm

    tensors = state_dict_of(read_tensors(file))
    probe: Any = timm.create_model(name, num_classes=num_classes)
    classifier = probe.pretrained_cfg.get("classifier", "")
    head = classifier if isinstance(classifier, str) else classifier[0]
    weight = tensors.get(f"{head}.weight")
    if isinstance(weight, Tensor):
        _require(f"{name}:{file}", len(weight), num_classes)
    try:
        probe.load_state_dict(tensors)
    except Exception as error:  # PyTorch raises RuntimeError, or anything for values that are no tensors
        raise RecordError(f"{file} does not fit {name} ({reason_in_one_line(error)}). Name its own network.") from error
    return probe


def state_dict_of(content: dict[str, Any]) -> dict[str, Any]:
    for container in CONTAINERS:
        if isinstance(content.get(container), Mapping):
            return dict(content[container])
    return content


def _require(name: str, theirs: int, ours: int) -> None:
    if theirs != ours:
        raise UsageError(other_classes(name, theirs, ours))


def _named_in(file: Path) -> list[str] | None:
    """Names of the classes in the metadata of a safetensors file, as our files have them."""
    named = read_weights_metadata(file).get("classes") if file.suffix == ".safetensors" else None
    return None if named is None else list(map(str, parse_json(named)))


def _class_names(module: Any) -> list[str] | None:
    """Names of timm's classes of ImageNet, which are those of its folders."""
    from timm.data import ImageNetInfo, infer_imagenet_subset  # type: ignore[attr-defined]

    subset = infer_imagenet_subset(module)
    return ImageNetInfo(subset).label_names() if subset else None

"""Task models in a comparison: networks by name get a head, files and run directories have one.

What runtimes must reproduce is a part of the output: of the logits of all pixels a sample, of boxes the scores. Which
of two boxes of nearly equal scores comes first, or drops the other, depends on rounding; their scores in order do not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from efficientformer.analysis.comparison.network_source import DenseTaskName, NetworkSource, TaskModel
from efficientformer.arch.dense import HEADS, DenseHead, DenseKind
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import ArchitectureError, RecordError, UsageError
from efficientformer.exporting.onnx_graph import read_graph
from efficientformer.formats.network import EVALUATION_MIB, Evaluation
from efficientformer.models.weights.load import architecture_of
from efficientformer.reading import read_record
from efficientformer.tasks.words import task_words

NUM_CLASSES: dict[DenseTaskName, int] = {"semantic": 150, "detection": 80}
"""Of ADE20K and COCO."""
RESOLUTION = 512
"""Of networks by name, by default."""
MOST_NUMBERS = 4096
"""Of a map of logits that are compared."""
HEAD_KINDS: dict[DenseTaskName, DenseKind] = {"semantic": "semantic_fpn", "detection": "one_stage"}
GIVE_FILE = "Give the model.onnx or weights.safetensors of a network that was trained for it, or its run directory."


def task_sources(sources: Sequence[NetworkSource], model: TaskModel) -> list[NetworkSource]:
    """The sources as task models: those by name with the head of `model`.

    Raises UsageError for networks of timm, which have no head here, and for files of another task.
    """
    words = task_words(model.task)
    for source in sources:
        if source.kind == "timm":
            raise UsageError(
                f"{source.target} is a network of timm, and has no head for images with {words.labels}. Give a name of "
                f"ours ({', '.join(ZOO)}), an .onnx file or a run directory of a task model."
            )
        if source.kind == "weights" and (kind := _kind_of(source.target)) != HEAD_KINDS[model.task]:
            what = "a classifier" if kind is None else "for another task"
            raise UsageError(f"{source.target} is {what}, not for images with {words.labels}. {GIVE_FILE}")
        if source.kind == "onnx" and (task := _task_of(Path(source.target))) not in (None, model.task):
            raise UsageError(
                f"{source.target} is for images with {task_words(task).labels}, not with {words.labels}. {GIVE_FILE}"
            )
    return [replace(source, model=model) for source in sources]


def refuse_task_weights(sources: Sequence[NetworkSource]) -> None:
    """Raises UsageError for weights of task models: what they give depends on the task."""
    for source in sources:
        if source.kind == "weights" and (kind := _kind_of(source.target)) is not None:
            task = next(name for name, of_task in HEAD_KINDS.items() if of_task == kind)
            raise UsageError(f"{source.target} is a task model. Compare it with others: --task {task}.")


def _kind_of(path: str) -> DenseKind | None:
    head = architecture_of(Path(path)).head
    return None if head is None else head.kind


def _task_of(path: Path) -> str | None:
    """The task that the metadata of a file of this package name; None for files of others."""
    metadata = {entry.key: entry.value for entry in read_graph(path, weights=False).metadata_props}
    return metadata.get("task", "classification") if "classes" in metadata else None


def own_score(source: NetworkSource) -> float | None:
    """What the network of a run scored on its own validation images, if it lies there with its evaluation."""
    if source.model is None or source.kind not in ("onnx", "weights"):
        return None
    beside = Path(source.target).with_name("evaluation.json")
    try:
        record = read_record(beside, Evaluation, most_mib=EVALUATION_MIB) if beside.is_file() else {}
    except RecordError:
        return None
    return record.get(task_words(source.model.task).primary)


def head_of(task: DenseTaskName, options: Mapping[str, int]) -> DenseHead:
    """The head of networks by name. options: its widths and depth, where they differ. Raises UsageError."""
    try:
        return HEADS[HEAD_KINDS[task]](**options)
    except ArchitectureError as error:
        raise UsageError(f"--head cannot be used: {error}") from error


def compared_part(task: DenseTaskName | None, output: np.ndarray) -> np.ndarray:
    """The part of a runtime's output that is compared with the expected one."""
    if task == "semantic" and output.size > MOST_NUMBERS:
        return output.reshape(1, -1)[:, :: -(-output.size // MOST_NUMBERS)]
    if task == "detection" and output.ndim == 3:
        return np.sort(output[:, :, 4], axis=1)
    return output

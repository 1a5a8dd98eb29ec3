"""The verb `evaluate MODEL.onnx`: scores of an exported file, in ONNX Runtime, on the validation images of a set."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from efficientformer.data.loader import eval_batches
from efficientformer.data.transforms import UNCROPPED, Preprocessing
from efficientformer.errors import RecordError, UsageError
from efficientformer.formats.network import EVALUATION_MIB, Evaluation
from efficientformer.paths import usable_path
from efficientformer.pipeline.networks.scoring import scoring_kind, validation_scores
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.open_run import RunRequest
from efficientformer.pipeline.run.resolve_settings import merge_given, read_yaml, resolve_settings
from efficientformer.pipeline.run.settings import Settings
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir
from efficientformer.tasks.exported import ExportedNetwork
from efficientformer.tasks.kinds import KINDS
from efficientformer.tasks.words import task_words


def evaluate_file(
    model: Path | str, settings: Settings, *, run_dir: Path | None = None, config: Path | None = None
) -> dict[str, Any]:
    """Score an exported file on validation images: those of its run, or of the setting `data`. They are cropped as the
    file says, or by the setting `crop`.

    Returns the scores as in `evaluation.json`, with `file` and, where the file's network was scored in its run,
    `pytorch`, the primary score there. Raises UsageError for images of other classes or without a set of images.
    """
    path = usable_path(model, "model")
    if not path.is_file():
        raise UsageError(f"{path} is not a file. Give the model.onnx of a network.")
    network, used = ExportedNetwork(path, settings.threads), _settings_of(path, settings, run_dir, config)
    if used.data is None:
        raise UsageError("The images that score the file are not known. Name their folder or list with --data.")
    kind, console = scoring_kind(KINDS[network.task], used, network.preprocessing.grid), RunConsole()
    with console.progress("checking images") as progress:
        dataset = kind.load(
            Path(used.data),
            val_fraction=used.val_fraction,
            seed=used.seed,
            max_pixels=used.max_pixels,
            skip_bad=used.skip_bad,
            progress=lambda done, total: progress(done, total, ""),
        )
    words = task_words(network.task)
    if dataset.task != network.task or list(dataset.classes) != network.classes:
        raise UsageError(
            f"{path} is for images with {words.labels}, of the classes {_shown(network.classes)}; {used.data} has "
            f"{task_words(dataset.task).labels}, of {_shown(dataset.classes)}. Name the images that it was trained on."
        )
    preprocessing = _preprocessing(network, settings.crop)
    batches = eval_batches(dataset.val, kind.score_view(preprocessing), batch_size=kind.eval_batch_size)
    scores = validation_scores(kind, network, batches, dataset, console)
    record = {"file": str(path), **scores.to_record(list(dataset.classes))}
    before = _scored_before(path, words.primary)
    known = "" if before is None else f"; PyTorch {before:.2f} %"
    console.say(f"{path.name}: {words.title} {scores.primary:.2f} %{known} ({len(dataset.val)} images)")
    return record if before is None else {**record, "pytorch": before}


def _preprocessing(network: ExportedNetwork, crop_ratio: float | None) -> Preprocessing:
    """That of the file or, where another crop is asked for, the same with that."""
    if crop_ratio is None:
        return network.preprocessing
    if task_words(network.task).is_dense:
        raise UsageError(UNCROPPED)
    return replace(network.preprocessing, crop_ratio=crop_ratio)


def _settings_of(path: Path, settings: Settings, run_dir: Path | None, config: Path | None) -> Settings:
    """Settings of the images: those given, else those of the run that the file lies in."""
    own = path.resolve().parents[2] if len(path.resolve().parents) > 2 else path.parent
    if run_dir is not None or (settings.data is None and RunDir(own).settings.exists()):
        return RunRequest(settings, run_dir or own, config).resolved()
    flags = settings.model_dump(exclude_unset=True, mode="json")
    return resolve_settings(merge_given(read_yaml(config) if config else {}, flags))


def _scored_before(path: Path, primary: str) -> float | None:
    """What the weights beside the file scored in PyTorch, if they were."""
    beside = path.with_name("evaluation.json")
    try:
        return read_record(beside, Evaluation, most_mib=EVALUATION_MIB).get(primary) if beside.is_file() else None
    except RecordError:
        return None


def _shown(classes: Any) -> str:
    return ", ".join(classes[:3]) + (f" and {len(classes) - 3} more" if len(classes) > 3 else "")

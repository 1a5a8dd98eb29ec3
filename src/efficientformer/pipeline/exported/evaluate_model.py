"""The verb `evaluate MODEL`: scores of a file or of a published network on the validation images of a set."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from efficientformer.data.dataset import ImageDataset
from efficientformer.data.loading.loader import eval_batches
from efficientformer.data.transforms import UNCROPPED, Preprocessing
from efficientformer.errors import RecordError, UsageError
from efficientformer.formats.network import EVALUATION_MIB, Evaluation
from efficientformer.pipeline.exported.open_model import ScoredModel, open_model
from efficientformer.pipeline.networks.scoring import scoring_kind, validation_scores
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.open_run import RunRequest
from efficientformer.pipeline.run.resolve_settings import check_settings, merge_given, read_yaml, resolve_settings
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import open_training_device
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir
from efficientformer.tasks.classification.columns import Chosen, Columns, find_columns, unknown_classes
from efficientformer.tasks.exported import ExportedNetwork
from efficientformer.tasks.kind import TaskKind
from efficientformer.tasks.kinds import KINDS
from efficientformer.tasks.words import CLASSIFICATION, task_words


def evaluate_model(
    model: Path | str,
    settings: Settings,
    *,
    weights: Path | None = None,
    run_dir: Path | None = None,
    config: Path | None = None,
) -> dict[str, Any]:
    """Score an exported file, a weights file or a published network on validation images: those of the file's run, or
    of the setting `data`. They are cropped as the model says, or by the setting `crop`. Of a folder that gives no split
    all images score a published network, unless `val_fraction` is given.

    weights: a file of the published network's weights; by default they are downloaded.

    Returns the scores as in `evaluation.json`, with `file`, or `network` of one whose weights are downloaded. Where the
    file's network was scored in its run, `pytorch` is the primary score there. Raises UsageError for images of unknown
    classes or without a set of images.
    """
    given = settings if config is None else _with_config(settings, config)
    scored, console = open_model(model, given, weights), RunConsole()
    used = _settings_of(scored.path, given, run_dir)
    if used.data is None:
        raise UsageError("The images that score the model are not known. Name their folder or list with --data.")
    kind = scoring_kind(KINDS[scored.task], used, scored.preprocessing.grid)
    is_whole = scored.is_published and "val_fraction" not in given.model_fields_set
    dataset = _load(kind, used, 1.0 if is_whole else used.val_fraction, console)
    columns = _columns(scored, dataset, used.data)
    for note in (*scored.notes, *([columns.said] if columns.said else [])):
        console.say(note)
    network = Chosen(scored.module, columns) if columns.said else scored.module
    is_exported = isinstance(scored.module, ExportedNetwork)
    if not is_exported:
        network = network.to(open_training_device(used))
    view = kind.score_view(_preprocessing(scored, given.crop))
    batches = eval_batches(dataset.val, view, batch_size=kind.eval_batch_size, workers=used.workers)
    scores, words = validation_scores(kind, network, batches, dataset, console), task_words(scored.task)
    place = {"network": scored.title} if scored.path is None else {"file": str(scored.path)}
    record = {**place, **scores.to_record(list(dataset.classes))}
    is_of_own_classes = is_exported and not columns.said
    before = _scored_before(scored.path, words.primary) if scored.path and is_of_own_classes else None
    known = "" if before is None else f"; PyTorch {before:.2f} %"
    console.say(f"{scored.title}: {words.title} {scores.primary:.2f} %{known} ({len(dataset.val):,} images)")
    return record if before is None else {**record, "pytorch": before}


def _load(kind: TaskKind, used: Settings, val_fraction: float, console: RunConsole) -> ImageDataset:
    with console.progress("checking images") as progress:
        return kind.load(
            Path(str(used.data)),
            val_fraction=val_fraction,
            seed=used.seed,
            max_pixels=used.max_pixels,
            skip_bad=used.skip_bad,
            progress=lambda done, total: progress(done, total, ""),
        )


def _columns(scored: ScoredModel, dataset: ImageDataset, data: str) -> Columns:
    """The output for each class of the images. Raises UsageError for classes that the network does not know."""
    words, ours, name = task_words(scored.task), list(dataset.classes), scored.path or scored.title
    if dataset.task == scored.task and scored.classes == ours:
        return Columns(tuple(range(len(ours))))
    if dataset.task == scored.task == CLASSIFICATION.name:
        if columns := find_columns(scored.classes, ours):
            return columns
        if unknown := unknown_classes(scored.classes, ours):
            more = f" and {len(unknown) - 1:,} more classes" if len(unknown) > 1 else ""
            raise UsageError(
                f"{name} does not know '{unknown[0]}'{more} of {data}. Its {len(scored.classes):,} classes are "
                "ImageNet's: call folders by their numbers, such as n01440764, or their names, such as tench."
            )
    raise UsageError(
        f"{name} is for images with {words.labels}, of the classes {_shown(scored.classes)}; {data} has "
        f"{task_words(dataset.task).labels}, of {_shown(ours)}. Name the images that it was trained on."
    )


def _preprocessing(scored: ScoredModel, crop_ratio: float | None) -> Preprocessing:
    """That of the model or, where another crop is asked for, the same with that."""
    if crop_ratio is None:
        return scored.preprocessing
    if task_words(scored.task).is_dense:
        raise UsageError(UNCROPPED)
    return replace(scored.preprocessing, crop_ratio=crop_ratio)


def _with_config(settings: Settings, config: Path) -> Settings:
    """The settings given, over those of a YAML file."""
    return check_settings(
        Settings, merge_given(read_yaml(config), settings.model_dump(exclude_unset=True, mode="json"))
    )


def _settings_of(path: Path | None, given: Settings, run_dir: Path | None) -> Settings:
    """Settings of the images: those given, else those of the run that the file lies in."""
    parents = [] if path is None else path.resolve().parents
    own = parents[2] if len(parents) > 2 else None
    if run_dir is not None or (given.data is None and own is not None and RunDir(own).settings.exists()):
        return RunRequest(given, run_dir or own).resolved()
    return resolve_settings(given.model_dump(exclude_unset=True, mode="json"))


def _scored_before(path: Path, primary: str) -> float | None:
    """What the weights beside the file scored in PyTorch, if they were."""
    beside = path.with_name("evaluation.json")
    try:
        return read_record(beside, Evaluation, most_mib=EVALUATION_MIB).get(primary) if beside.is_file() else None
    except RecordError:
        return None


def _shown(classes: Any) -> str:
    return ", ".join(classes[:3]) + (f" and {len(classes) - 3} more" if len(classes) > 3 else "")

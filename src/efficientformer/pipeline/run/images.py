"""The images of a run: loaded once, described in `data.json`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from efficientformer.arch.resolution import Resolution, grid_of_input
from efficientformer.data.dataset import ImageDataset, ImageSplit, SkippedFile
from efficientformer.data.loading.memory import hold_in_memory
from efficientformer.data.sample import load_sample
from efficientformer.data.shards.download import local_shards
from efficientformer.data.transforms import Preprocessing
from efficientformer.data.unlabelled import UnlabelledImages, load_unlabelled
from efficientformer.errors import RecordError, UsageError
from efficientformer.formats.run import DataRecord, Skipped
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.settings import Settings
from efficientformer.provenance import provenance
from efficientformer.reading import read_lines, read_record
from efficientformer.records import append_line, write_record
from efficientformer.run_dir import RunDir
from efficientformer.tasks.kinds import KINDS, find_kind
from efficientformer.tasks.words import task_words

_SHOWN_CLASSES = 10
_SHOWN_REASONS = 20
_UNEVEN = 3
"""Images of the largest class over those of the smallest beyond which a set is called uneven."""


def load_dataset(run_dir: RunDir, settings: Settings, console: RunConsole, *, is_first: bool = True) -> ImageDataset:
    """The images of the setting `data`, or the shipped sample. What is left out is named.

    is_first: of the processes that train together, one writes the records.
    """
    if settings.data is None:
        dataset = load_sample()
    else:
        with console.progress("downloading shards") as progress:
            path = local_shards(Path(settings.data), lambda done, total: progress(done, total, "MB"))
        kind = find_kind(path) if settings.task == "auto" else KINDS[settings.task]
        with console.progress("checking images") as progress:
            dataset = kind.load(
                path,
                skip_bad=settings.skip_bad,
                val_fraction=settings.val_fraction,
                seed=settings.seed,
                max_pixels=settings.max_pixels,
                record=run_dir.checked_images,
                is_first=is_first,
                progress=lambda done, total: progress(done, total, ""),
                on_unreadable=_namer(run_dir, console if is_first else RunConsole()),
            )
    _require_task(dataset, settings)
    if dataset.is_held_out and settings.val_fraction == 1:
        raise UsageError("val_fraction 1 leaves no image to train with. It is for 'efficientformer evaluate MODEL'.")
    if is_first:
        _write_record(run_dir, dataset, settings.resolution)
    text = f"{dataset.name}: {len(dataset.classes)} classes, {len(dataset.train)} + {len(dataset.val)} images"
    console.phase("data", text)
    if "val_fraction" in settings.model_fields_set and settings.data and not dataset.is_held_out:
        console.warn(f"val_fraction has no effect: validation images are those of {dataset.split_rule}")
    _say_what_was_seen(dataset, console)
    return dataset


def _namer(run_dir: RunDir, console: RunConsole) -> Callable[[SkippedFile], None]:
    """Names an image that cannot be decoded on the console, and in the run's record of them unless it is there."""
    known = {line["file"] for line in read_lines(run_dir.unreadable, Skipped)}

    def name(skipped: SkippedFile) -> None:
        console.warn(f"{skipped.file} cannot be decoded ({skipped.reason}): replaced in training, left out of scores")
        if skipped.file not in known:
            known.add(skipped.file)
            append_line(run_dir.unreadable, {"file": skipped.file, "reason": skipped.reason})

    return name


def _require_task(dataset: ImageDataset, settings: Settings) -> None:
    """Raises UsageError for images that are not labelled for the task that is asked for."""
    if settings.task not in ("auto", dataset.task):
        what = f"--data {settings.data} has" if settings.data else "The shipped images have"
        raise UsageError(
            f"--task {settings.task} is for images with {task_words(settings.task).labels}. {what} "
            f"{task_words(dataset.task).labels}: give other images, or leave out --task."
        )


def _say_what_was_seen(dataset: ImageDataset, console: RunConsole) -> None:
    shown = ", ".join(dataset.classes[:_SHOWN_CLASSES])
    more = len(dataset.classes) - _SHOWN_CLASSES
    console.say(f"classes: {shown}{f' and {more} more' if more > 0 else ''}")
    if dataset.layout:
        rule = f"; {dataset.split_rule}" if dataset.is_held_out else ""
        console.say(f"{dataset.layout}{rule}")
    if uneven := _uneven(dataset):
        console.say(uneven)
    for note in dataset.notes:
        console.say(note)
    for warning in dataset.warnings:
        console.warn(warning)
    files: dict[str, list[str]] = {}
    for skipped in dataset.skipped:
        files.setdefault(skipped.reason, []).append(skipped.file)
    for reason, names in sorted(files.items(), key=lambda item: -len(item[1]))[:_SHOWN_REASONS]:
        more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
        console.warn(f"skipped {', '.join(names[:3])}{more}: {reason}")
    if len(files) > _SHOWN_REASONS:
        console.warn(f"skipped {len(dataset.skipped):,} files and folders in total; data.json lists them")


def load_unlabelled_images(
    run_dir: RunDir, settings: Settings, console: RunConsole, validation: ImageSplit, *, is_first: bool = True
) -> UnlabelledImages | None:
    """The photographs of the setting train.unlabelled, None without it; what is left out is counted."""
    if settings.train.unlabelled is None:
        return None
    with console.progress("checking unlabelled images") as progress:
        found = load_unlabelled(
            Path(settings.train.unlabelled),
            validation=validation,
            max_pixels=settings.max_pixels,
            record=run_dir.checked_unlabelled,
            is_first=is_first,
            progress=lambda done, total: progress(done, total, ""),
        )
    console.say(f"{len(found.images):,} unlabelled images")
    if found.num_validation:
        console.say(f"left out {found.num_validation:,} more, which are validation images")
    if found.skipped:
        first = found.skipped[0]
        console.warn(f"skipped {len(found.skipped):,} of the unlabelled images ({first.file}: {first.reason}, ...)")
    return found


def _uneven(dataset: ImageDataset) -> str | None:
    """A line on classes of very unequal size; None where they are of about the same, and for a dense task."""
    if task_words(dataset.task).is_dense:
        return None
    counts = sorted(zip(dataset.train.num_images_per_class(), dataset.classes, strict=True))
    (fewest, small), (most, large) = counts[0], counts[-1]
    if most <= _UNEVEN * fewest:
        return None
    return (
        f"uneven classes: '{large}' has {most:,} training images, '{small}' {fewest:,}; --train.balance and "
        "--supernet.balance train for all classes alike"
    )


def load_training_images(images: ImageSplit, settings: Settings, console: RunConsole) -> ImageSplit:
    """Images to train with; large files are held in memory at twice the resolution if they fit."""
    with console.progress("loading images") as progress:
        return hold_in_memory(
            images,
            2 * max(grid_of_input(settings.resolution)),
            progress=lambda done, total: progress(done, total, ""),
        )


def _known(run_dir: RunDir) -> dict[str, Any] | None:
    try:
        return dict(read_record(run_dir.data, DataRecord))
    except RecordError:
        return None


def _write_record(run_dir: RunDir, dataset: ImageDataset, resolution: Resolution) -> None:
    preprocessing = Preprocessing.for_dataset(dataset, resolution)
    record = {**dataset.to_record(), "preprocessing": preprocessing.to_json()}
    known = _known(run_dir)
    if known is None or any(known.get(name) != value for name, value in record.items()):
        write_record(run_dir.data, {**record, "provenance": provenance()})

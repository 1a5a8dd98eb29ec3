"""The verb `data`: every image of a set is read and decoded, and what is odd about the set is named."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from efficientformer.data.dataset import ImageSplit, SkippedFile, classes_of
from efficientformer.data.large.checks import Checks
from efficientformer.data.large.found import source_of, spread
from efficientformer.data.large.undecoded import UndecodedSource
from efficientformer.data.limits import MAX_PIXELS
from efficientformer.errors import DataError, UsageError
from efficientformer.paths import usable_path
from efficientformer.pipeline.image_sets.duplicates import Copy, Duplicates, equal_rows
from efficientformer.pipeline.image_sets.given import check_given, given_images
from efficientformer.pipeline.image_sets.sheet import IMAGES_OF_CLASS, MAX_CLASSES, draw_classes
from efficientformer.pipeline.run.console import RunConsole

Record = dict[str, Any]
SPLITS = ("train", "val")


def check_images(
    data: Path | str,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    max_pixels: int = MAX_PIXELS,
    sheet: Path | str | None = None,
) -> Record:
    """Read and decode every image of a folder or list, as training does: counts, broken files, files with the same
    content, the balance of the classes, and a contact sheet. Returns the content of `data --json`.

    data: class folders, or a list of images.
    val_fraction, seed: what is held out for validation where no validation images are given, as in a run.
    max_pixels: larger images are broken, or decoded at a reduced size if they are JPEG files.
    sheet: the PNG file of the contact sheet, by default NAME-images.png.

    Checks are kept in this user's cache: interrupted, the same call continues, and later ones read changed files alone.
    Raises UsageError for masks and boxes, DataError for what is no set of images with classes.
    """
    if max_pixels < 1:
        raise UsageError(f"--max-pixels must be at least 1, got {max_pixels}.")
    console = RunConsole()
    given = given_images(data, max_pixels, console)
    sheet = usable_path(sheet or f"{given.name}-images.png", "--sheet")
    checks, num_read = check_given(given, max_pixels, console)
    splits, rule = given.split_up(checks.problems, val_fraction, seed)
    for part, split in zip(("training", "validation"), splits, strict=True):
        if not len(split):
            raise DataError(f"No {part} image of {given.name} can be decoded.")
    console.phase("sheet", str(sheet))
    draw_classes(_rows(splits[0]), sheet)
    return {
        "name": given.name,
        "task": given.task,
        "layout": given.layout,
        "notes": list(given.notes),
        "split_rule": rule,
        "classes": list(splits[0].classes),
        **{
            name: {"num_images": len(split), "per_class": split.num_images_per_class()}
            for name, split in zip(SPLITS, splits, strict=True)
        },
        "balance": _balance(splits[0]),
        "broken": named(given.broken(checks)),
        "skipped": named(given.skipped),
        "duplicates": _duplicates(splits, checks, given.starts).to_json(),
        "num_read": num_read,
        "sheet": str(sheet),
    }


def named(skipped: Iterable[SkippedFile]) -> list[dict[str, str]]:
    """As a record has them."""
    return [{"file": each.file, "reason": each.reason} for each in skipped]


def _balance(train: ImageSplit) -> dict[str, Any]:
    counts = train.num_images_per_class()
    ordered = sorted(zip(counts, train.classes, strict=True))
    (fewest, small), (most, large) = ordered[0], ordered[-1]
    return {
        "smallest": {"class": small, "num_images": fewest},
        "median": statistics.median(counts),
        "largest": {"class": large, "num_images": most},
    }


def _duplicates(splits: Sequence[ImageSplit], checks: Checks, starts: dict[int, int]) -> Duplicates:
    offsets = [starts[id(split.source)] for split in splits]
    positions = [
        np.fromiter(split.positions, np.int64, len(split)) + offset
        for split, offset in zip(splits, offsets, strict=True)
    ]
    digests, num_train = checks.digests[np.concatenate(positions)], len(positions[0])
    groups = equal_rows(digests)
    return Duplicates([[_copy(splits, row, num_train) for row in rows] for rows in groups])


def _copy(splits: Sequence[ImageSplit], row: int, num_train: int) -> Copy:
    place, index = (0, row) if row < num_train else (1, row - num_train)
    split = splits[place]
    return Copy(split.name(index), SPLITS[place], tuple(split.classes[n] for n in classes_of(split.labels[index])))


def _rows(train: ImageSplit) -> list[tuple[str, UndecodedSource, list[int]]]:
    """Of classes at equal distances images at equal distances."""
    source, counts = source_of(train), train.num_images_per_class()
    wanted = spread(len(train.classes), MAX_CLASSES)
    members: dict[int, list[int]] = {number: [] for number in wanted}
    for index, label in enumerate(train.labels):
        for number in classes_of(label):
            if number in members:
                members[number].append(index)
    rows = []
    for number, indices in members.items():
        positions = [train.positions[indices[place]] for place in spread(len(indices), IMAGES_OF_CLASS)]
        rows.append((f"{train.classes[number]}: {counts[number]:,}", source, positions))
    return rows

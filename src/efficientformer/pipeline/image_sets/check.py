"""The verb `data`: every image of a set is read and decoded, and what is odd about the set is named."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from efficientformer.data.dataset import ImageSplit, classes_of, holdout, holdout_rule
from efficientformer.data.large.checks import Checks, check_all
from efficientformer.data.large.kept import kept_file, one_at_a_time
from efficientformer.data.large.load import spread
from efficientformer.data.limits import MAX_PIXELS
from efficientformer.errors import DataError, UsageError
from efficientformer.paths import usable_path
from efficientformer.pipeline.image_sets.duplicates import Copy, Duplicates, equal_rows
from efficientformer.pipeline.image_sets.given import GivenImages, given_images, source_of
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
    with console.progress("listing images") as progress:
        given = given_images(data, max_pixels=max_pixels, progress=lambda done, total: progress(done, total, ""))
    sheet = usable_path(sheet or f"{given.name}-images.png", "--sheet")
    files, kept = given.files, kept_file(Path(data).expanduser(), "checks")
    with one_at_a_time(kept), console.progress("checking images") as progress:
        checks, num_read = check_all(
            given.root,
            files,
            max_pixels=max_pixels,
            kept=kept,
            progress=lambda done, total: progress(done, total, f"{len(files) - total:,} known"),
        )
    splits, rule = _splits(given, checks.problems, val_fraction, seed)
    console.phase("sheet", str(sheet))
    draw_classes(_rows(splits[0]), sheet, max_pixels)
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
        "broken": _broken(given, checks),
        "skipped": [{"file": skipped.file, "reason": skipped.reason} for skipped in given.skipped],
        "duplicates": _duplicates(splits, checks, _starts(given)).to_json(),
        "num_read": num_read,
        "sheet": str(sheet),
    }


def _starts(given: GivenImages) -> dict[int, int]:
    """The position of the first file of each source among all files, by the source's identity."""
    lengths = [len(source_of(split).files) for split in given.splits]
    return {id(split.source): sum(lengths[:place]) for place, split in enumerate(given.splits)}


def _splits(
    given: GivenImages, problems: dict[int, str], val_fraction: float, seed: int
) -> tuple[tuple[ImageSplit, ImageSplit], str]:
    """Usable images for training and for validation, and where the latter come from. A run on a large folder holds out
    before it knows what is broken."""
    starts = _starts(given)

    def usable(split: ImageSplit) -> ImageSplit:
        start = starts[id(split.source)]
        chosen = [index for index, position in enumerate(split.positions) if start + position not in problems]
        return split if len(chosen) == len(split) else split.subset(chosen)

    if len(given.splits) == 2:
        train, val, rule = usable(given.splits[0]), usable(given.splits[1]), given.rule
    else:
        (only,) = given.splits
        train, val = holdout(only if given.is_large else usable(only), val_fraction, seed)
        train, val = usable(train), usable(val)
        rule = holdout_rule(val_fraction, seed)
    if not len(train) or not len(val):
        raise DataError(f"No {'training' if not len(train) else 'validation'} image of {given.name} can be decoded.")
    return (train, val), rule


def _broken(given: GivenImages, checks: Checks) -> list[dict[str, str]]:
    first = len(source_of(given.splits[0]).files)
    found = []
    for position, reason in sorted(checks.problems.items()):
        place, index = (0, position) if position < first else (1, position - first)
        found.append({"file": source_of(given.splits[place]).name(index), "reason": reason})
    return found


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


def _rows(train: ImageSplit) -> list[tuple[str, list[Path]]]:
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
        chosen = [indices[place] for place in spread(len(indices), IMAGES_OF_CLASS)]
        files = [source.root / source.files[train.positions[index]] for index in chosen]
        rows.append((f"{train.classes[number]}: {counts[number]:,}", files))
    return rows

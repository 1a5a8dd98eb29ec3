"""Verb `data`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from efficientformer.cli.options import JsonOption
from efficientformer.cli.printing import print_json, print_lines, print_rows
from efficientformer.data.limits import MAX_PIXELS

_MOST_CLASSES, _MOST_NAMED = 20, 10


def data(
    folder: Path,
    *,
    sheet: Path | None = None,
    val_fraction: float = 0.2,
    seed: int = 0,
    max_pixels: int = MAX_PIXELS,
    json: JsonOption = False,
) -> None:
    """Check all images of a folder or list: counts, broken files, duplicates, balance of the classes, a contact sheet.

    Every file is read and decoded once; checks are kept, so that an interrupted command continues and a later one reads
    changed files alone.

    For example:

        efficientformer data photos
        efficientformer data photos.csv --sheet photos.png --json
        efficientformer data pack photos --out shards

    Parameters
    ----------
    folder: Path
        One folder of images for each class, train/ and val/ with such folders, a list, or shards.
    sheet: Path
        The PNG file of the contact sheet. By default NAME-images.png.
    val_fraction: float
        Share of images for validation. Where the folder gives no split.
    seed: int
        Draws the validation images, as in a run.
    max_pixels: int
        Largest image that is read, in pixels. JPEG files beyond it are decoded at a reduced size.
    json: bool
        Print all that was found as one JSON document.
    """
    from efficientformer.pipeline.image_sets.check import check_images

    record = check_images(folder, sheet=sheet, val_fraction=val_fraction, seed=seed, max_pixels=max_pixels)
    if json:
        print_json(record)
        return
    print_lines(_lines(record))
    _print_classes(record)


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    train, val = record["train"]["num_images"], record["val"]["num_images"]
    yield f"{record['name']}: {len(record['classes']):,} classes, {train:,} + {val:,} images"
    yield f"{record['layout']}; validation: {record['split_rule']}"
    yield from left_out_lines(record)
    yield from _duplicate_lines(record["duplicates"])
    balance = record["balance"]
    small, large = balance["smallest"], balance["largest"]
    yield (
        f"training images of a class: {small['num_images']:,} ({small['class']}) to {large['num_images']:,} "
        f"({large['class']}), median {balance['median']:,}"
    )
    yield f"contact sheet: {record['sheet']}"


def left_out_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """What was left out, with the first names."""
    yield from record["notes"]
    for what, files in (("broken", record["broken"]), ("skipped", record["skipped"])):
        yield f"{what}: {len(files):,}"
        for each in files[:_MOST_NAMED]:
            yield f"  {each['file']}: {each['reason']}"
        if len(files) > _MOST_NAMED:
            yield f"  and {len(files) - _MOST_NAMED:,} more; --json names all"


def _duplicate_lines(duplicates: Mapping[str, Any]) -> Iterator[str]:
    yield f"files that repeat another: {duplicates['num_files']:,}"
    for what, groups in (("training and validation", duplicates["across"]), ("two classes", duplicates["relabelled"])):
        for group in groups[:_MOST_NAMED]:
            yield f"  in {what}: {' = '.join(group)}"
        if len(groups) > _MOST_NAMED:
            yield f"  in {what}: {len(groups) - _MOST_NAMED:,} more pictures"


def _print_classes(record: Mapping[str, Any]) -> None:
    counts = [record[split]["per_class"] for split in ("train", "val")]
    rows = sorted(zip(record["classes"], *counts, strict=True), key=lambda row: -row[1])
    shown = rows if len(rows) <= _MOST_CLASSES else [*rows[: _MOST_CLASSES // 2], *rows[-(_MOST_CLASSES // 2) :]]
    title = "class" if len(shown) == len(rows) else f"class ({len(shown)} of {len(rows):,})"
    print_rows((title, "train", "val"), [(name, f"{train:,}", f"{val:,}") for name, train, val in shown], wide=True)

"""The verb `data pack`: a folder or list of images as shards."""

import re
from pathlib import Path
from typing import Any

from efficientformer.data.limits import MAX_PIXELS
from efficientformer.data.shards.pack import earlier_packing, plan_shards, write_shards
from efficientformer.errors import DataError, UsageError
from efficientformer.paths import usable_path
from efficientformer.pipeline.image_sets.check import SPLITS, named
from efficientformer.pipeline.image_sets.given import check_given, given_images
from efficientformer.pipeline.run.console import RunConsole

SHARD_SIZE = "500MB"
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kMG]?)(i?)B?", re.IGNORECASE)
_POWERS = ("", "k", "m", "g")
_SMALLEST = 10_240
"""Bytes of a tar file with one image of a few pixels."""


def pack_images(
    data: Path | str,
    out: Path | str,
    *,
    shard_size: str = SHARD_SIZE,
    val_fraction: float = 0.2,
    seed: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> dict[str, Any]:
    """Write the images of a folder or list into tar files, as they are, with the numbers of their classes: WebDataset's
    layout, with classes.txt and shards.json next to them. Returns the content of `data pack --json`.

    data: class folders, a list of images, or shards.
    out: a new folder, or that of the same packing before it was interrupted: it goes on.
    shard_size: of a tar file at most, such as 500MB or 2GiB.
    val_fraction, seed: what is held out for validation where no validation images are given, as in a run. The seed
        also draws the order of the images.
    max_pixels: larger images are left out, but for JPEG files that are decoded at a reduced size.

    Images that cannot be decoded are left out and named. Raises UsageError for masks, boxes and several labels an
    image, and for a folder `out` with anything else, DataError for what is no set of images with classes.
    """
    if max_pixels < 1:
        raise UsageError(f"--max-pixels must be at least 1, got {max_pixels}.")
    shard_bytes, folder, console = parse_size(shard_size), usable_path(out, "--out"), RunConsole()
    earlier_packing(folder)  # before hours of checks
    given = given_images(data, max_pixels, console)
    if given.task != "classification":
        raise UsageError(f"{data} has several labels an image, and shards have one. Train from the list itself.")
    checks, _ = check_given(given, max_pixels, console)
    splits, rule = given.split_up(checks.problems, val_fraction, seed)
    for name, split in zip(SPLITS, splits, strict=True):
        if lost := [each for each, count in zip(split.classes, split.num_images_per_class(), strict=True) if not count]:
            raise DataError(
                f"No usable {name} image of class '{lost[0]}' in {given.name}. Add images or remove the class."
            )
    plan = plan_shards(given, splits, checks, shard_bytes=shard_bytes, seed=seed)
    with console.progress("packing images") as progress:
        num_written = write_shards(plan, folder, lambda done, total: progress(done, total, str(folder)))
    shards = plan.manifest()["shards"]
    return {
        "name": given.name,
        "out": str(folder),
        "classes": list(plan.classes),
        "split_rule": rule,
        **{name: _of_split(name, shards) for name in SPLITS},
        "num_written": num_written,
        "notes": list(given.notes),
        "broken": named(given.broken(checks)),
        "skipped": named(given.skipped),
    }


def parse_size(text: str) -> int:
    """Bytes of a size such as 500MB or 2GiB. Raises UsageError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--shard-size must be a size such as 500MB or 2GiB, got '{text}'.")
    power = _POWERS.index(match[2].lower())
    size = int(float(match[1]) * (1024 if match[3] else 1000) ** power)
    if size < _SMALLEST:
        raise UsageError(f"--shard-size must be at least 10kiB, the smallest tar file; got '{text}'.")
    return size


def _of_split(name: str, shards: Any) -> dict[str, Any]:
    own = [shard for shard in shards if shard["file"].startswith(f"{name}-")]
    return {
        "num_images": sum(shard["num_images"] for shard in own),
        "num_bytes": sum(shard["num_bytes"] for shard in own),
        "shards": [shard["file"] for shard in own],
    }

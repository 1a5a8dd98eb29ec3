"""`data pack`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from efficientformer.cli.data.check import left_out_lines
from efficientformer.cli.options import JsonOption
from efficientformer.cli.printing import print_json, print_lines
from efficientformer.data.limits import MAX_PIXELS

OutOption = Annotated[Path, Parameter(name=("--out", "-o"))]


def pack(
    folder: Path,
    *,
    out: OutOption,
    shard_size: str = "500MB",
    val_fraction: float = 0.2,
    seed: int = 0,
    max_pixels: int = MAX_PIXELS,
    json: JsonOption = False,
) -> None:
    """Write the images of a folder or list into tar files (shards), which --data takes in place of the folder.

    They have WebDataset's layout: the bytes of each image as they are, and the number of its class; names of the
    classes are in classes.txt. The order is random. Broken images are left out and named. Interrupted, the same command
    goes on; the same images make the same files.

    For example:

        efficientformer data pack photos --out shards
        efficientformer data pack photos.csv --out shards --shard-size 1GB --json
        efficientformer train --data shards

    Parameters
    ----------
    folder: Path
        One folder of images for each class, train/ and val/ with such folders, or a list.
    out: Path
        A new folder for the shards. Or that of the same command before.
    shard_size: str
        Largest tar file. Such as 500MB or 2GiB.
    val_fraction: float
        Share of images for validation. Where the folder gives no split.
    seed: int
        Draws the validation images, as in a run, and the order.
    max_pixels: int
        Largest image that is packed, in pixels. JPEG files beyond it can be decoded at a reduced size.
    json: bool
        Print what was written and left out as one JSON document.
    """
    from efficientformer.pipeline.image_sets.pack import pack_images

    options = {"shard_size": shard_size, "val_fraction": val_fraction, "seed": seed, "max_pixels": max_pixels}
    record = pack_images(folder, out, **options)
    if json:
        print_json(record)
    else:
        print_lines(_lines(record))


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    train, val = record["train"], record["val"]
    yield f"{record['name']}: {len(record['classes']):,} classes; validation: {record['split_rule']}"
    yield from left_out_lines(record)
    for name, split in (("train", train), ("val", val)):
        shards = " to ".join(dict.fromkeys([split["shards"][0], split["shards"][-1]]))
        yield f"{name}: {split['num_images']:,} images, {split['num_bytes'] / 1e6:,.1f} MB, {shards}"
    num_shards = len(train["shards"]) + len(val["shards"])
    known = num_shards - record["num_written"]
    yield f"{record['out']}: {num_shards:,} shards{f', {known:,} of them written before' if known else ''}"

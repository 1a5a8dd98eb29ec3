"""What `data pack` wrote next to its shards: which there are, so that none is missed, and of which images."""

from pathlib import Path

from typing_extensions import TypedDict

from efficientformer.data.shards.layout import ShardLayout
from efficientformer.errors import DataError, RecordError
from efficientformer.reading import read_record, shown_path

NAME = "shards.json"
CLASSES = "classes.txt"
"""Names of the classes, next to the shards: a line for each, in the order of their numbers."""
_MOST_MIB = 16


class PackedShard(TypedDict):
    file: str
    num_images: int
    num_bytes: int


class Manifest(TypedDict):
    """about: a digest of the images, their labels and their order, and of the size of a shard."""

    about: str
    shards: list[PackedShard]


def read_manifest(folder: Path) -> Manifest | None:
    """None without one. Raises DataError for one that cannot be read."""
    if not (folder / NAME).is_file():
        return None
    try:
        return read_record(folder / NAME, Manifest, most_mib=_MOST_MIB, remedy="Pack the images again in a new folder.")
    except RecordError as error:
        raise DataError(str(error)) from error


def is_packed(folder: Path, shard: PackedShard) -> bool:
    """Whether the shard is there: they are written whole or not at all."""
    try:
        return (folder / shard["file"]).stat().st_size == shard["num_bytes"]
    except OSError:
        return False


def require_whole(layout: ShardLayout) -> None:
    """Raises DataError where a shard of a folder that `data pack` wrote is missing or has another size."""
    manifest = read_manifest(layout.root)
    files = {*layout.train, *layout.val}
    if manifest is None or not files & {shard["file"] for shard in manifest["shards"]}:
        return
    if missing := [shard["file"] for shard in manifest["shards"] if not is_packed(layout.root, shard)]:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise DataError(
            f"{shown_path(layout.root / missing[0])}{more} of {NAME} is not there, or not whole. Copy it again, or "
            "repeat the command 'efficientformer data pack' that wrote the others."
        )

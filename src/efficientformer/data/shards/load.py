"""Shards as a set of images: one pass over their headers says where each image is, and its class."""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from efficientformer.data.compact.numbers import Numbers
from efficientformer.data.dataset import ImageSplit
from efficientformer.data.images import Progress, map_in_threads
from efficientformer.data.large import load
from efficientformer.data.large.found import FoundSet, require_classes
from efficientformer.data.large.kept import kept_file, one_at_a_time
from efficientformer.data.large.undecoded import OnUnreadable
from efficientformer.data.shards.kept import read_kept, write_kept
from efficientformer.data.shards.layout import ShardLayout, find_shards
from efficientformer.data.shards.manifest import CLASSES, require_whole
from efficientformer.data.shards.shard import MOST_DIGITS, Shard, list_shard
from efficientformer.data.shards.source import ShardSource
from efficientformer.data.walk import LeftOut
from efficientformer.errors import DataError, RecordError
from efficientformer.reading import read_text

_KIND = "listings"


def found_shards(
    path: Path, max_pixels: int, progress: Progress | None = None, on_unreadable: OnUnreadable | None = None
) -> FoundSet:
    """The images of a tar file or of a folder of them.

    progress: called with the number of shards that were listed, and of those to list.

    Raises DataError for a shard that cannot be used, see `list_shard`, and for classes that cannot be learned.
    """
    layout = find_shards(path)
    require_whole(layout)
    kept = kept_file(path, _KIND)
    with one_at_a_time(kept):
        shards = list_shards(layout, kept, progress)
    parts = [[shards[file] for file in files] for files in (layout.train, layout.val) if files]
    names = _class_names(layout.root, parts)
    if not names:
        raise DataError(f"{layout.root}: no shard holds a picture with a label.")
    classes = tuple(dict.fromkeys(names.values()))
    left_out = LeftOut.total(*(shard.left_out for shard in shards.values()))
    splits = [_split(layout.root, part, classes, names, max_pixels, kept, on_unreadable) for part in parts]
    require_classes(splits, f"the shards of {layout.root}")
    return FoundSet(
        name=layout.name,
        root=path,
        splits=splits,
        is_large=sum(map(len, splits)) >= load.LARGE,
        layout=layout.text,
        rule="the shards of validation images" if layout.val else "",
        notes=(*layout.notes, *left_out.notes()),
        skipped=tuple(left_out.skipped),
    )


def list_shards(layout: ShardLayout, kept: Path | None = None, progress: Progress | None = None) -> dict[str, Shard]:
    """Every shard by its file. kept: a file that keeps the listing; shards that were not changed are taken from it.

    Raises DataError for a shard that cannot be used. Those listed before it are kept.
    """
    earlier, files = read_kept(kept, layout.root), [*layout.train, *layout.val]
    found: dict[str, Shard] = {}
    listing = functools.partial(_known_or_listed, layout.root, earlier)
    try:
        for file, shard in zip(files, map_in_threads(listing, files, progress), strict=True):
            found[file] = shard
    finally:
        if found and (len(found) != len(earlier) or any(earlier.get(file) is not found[file] for file in found)):
            write_kept(kept, layout.root, [*found.values()])
    return found


def _known_or_listed(root: Path, earlier: Mapping[str, Shard], file: str) -> Shard:
    known = earlier.get(file)
    return known if known is not None and known.is_current(root) else list_shard(root, file)


def _class_names(root: Path, parts: Sequence[Sequence[Shard]]) -> dict[str, str]:
    """The name of the class of each label, in the order of the classes: of classes.txt, else of numbers, else of names.

    Raises DataError for a label that is not in classes.txt.
    """
    texts = {text: shard.file for part in parts for shard in part for text in shard.label_texts}
    listed = _listed_classes(root / CLASSES)
    if listed is None:
        by_number = all(text.isdecimal() and len(text) <= MOST_DIGITS for text in texts)
        return {text: text for text in sorted(texts, key=(lambda text: (int(text), text)) if by_number else str)}
    names = {str(number): name for number, name in enumerate(listed)}
    names |= {name: name for name in listed if name not in names}
    for text, file in texts.items():
        if text not in names:
            raise DataError(
                f"{root / file} has the label '{text}', and {root / CLASSES} {len(listed):,} classes, from 0 on, "
                "without it. Add its line, or remove the file to have classes called by their labels."
            )
    return names


def _listed_classes(path: Path) -> list[str] | None:
    """None without the file. Raises DataError for an empty or repeated name."""
    if not path.is_file():
        return None
    try:
        lines = read_text(path).removesuffix("\n").split("\n")
    except RecordError as error:
        raise DataError(str(error)) from error
    names = [line.removesuffix("\r") for line in lines]
    if bad := [name for name, count in Counter(names).items() if not name or count > 1]:
        raise DataError(
            f"{path} has the line '{bad[0]}' more than once, or empty. It needs a name of its own for each class."
        )
    return names


def _split(
    root: Path,
    shards: Sequence[Shard],
    classes: tuple[str, ...],
    names: Mapping[str, str],
    max_pixels: int,
    kept: Path | None,
    on_unreadable: OnUnreadable | None,
) -> ImageSplit:
    """Sorted by class; of a class in the order of the shards."""
    source = ShardSource(root, shards, max_pixels=max_pixels, kept=kept, on_unreadable=on_unreadable)
    numbers = {name: number for number, name in enumerate(classes)}
    of_texts = [np.array([numbers[names[text]] for text in shard.label_texts], np.int32) for shard in shards]
    labels = np.concatenate([table[shard.labels] for table, shard in zip(of_texts, shards, strict=True)])
    order = np.argsort(labels, kind="stable").astype(np.int32)
    return ImageSplit(source, classes, Numbers(labels[order]), Numbers(order))

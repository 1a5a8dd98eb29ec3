"""A large folder as a data set: names, sizes and times are known, contents are not, but for a sample of them.

Decoding a million images once takes as long as an epoch; so broken ones are found when they are used, and named. That
the images are still the same is known by their names and sizes and by the contents of the sample.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from efficientformer.data.compact.numbers import Numbers
from efficientformer.data.compact.texts import Texts
from efficientformer.data.dataset import ImageDataset, ImageSplit, holdout, holdout_rule, require_divisible
from efficientformer.data.images import Progress, map_in_threads
from efficientformer.data.large.class_files import ClassFiles, list_class
from efficientformer.data.large.kept import kept_file, one_at_a_time, read_kept, write_kept
from efficientformer.data.large.source import LargeSource, OnUnreadable
from efficientformer.data.layout import Layout
from efficientformer.data.listing import Listing, begin_listing, check_classes, require_classes
from efficientformer.data.walk import LeftOut, Walk, composed, relative
from efficientformer.errors import DataError
from efficientformer.records import file_digest

LARGE = 100_000
"""Images from which on a folder is large."""
_SAMPLE = 1000
_KIND = "listings"


def is_large(root: Path, layout: Layout) -> bool:
    """Whether the folder holds so many pictures that they are not all decoded before they are used."""
    walk = Walk(root)
    pictures = itertools.chain.from_iterable(map(walk.pictures, _split_folders(layout)))
    return sum(1 for _ in itertools.islice(pictures, LARGE)) == LARGE


def load_large_folder(
    root: Path,
    layout: Layout,
    *,
    val_fraction: float,
    seed: int,
    max_pixels: int,
    progress: Progress | None = None,
    on_unreadable: OnUnreadable | None = None,
) -> ImageDataset:
    """Load the images of a large folder; the arguments are those of `load_image_folder`.

    progress: called with the number of class folders that were listed, and of those to list.
    on_unreadable: called with each image that turns out to be undecodable when it is used, once.
    """
    listings, splits = listed_splits(root, layout, max_pixels, progress, on_unreadable)
    classes = splits[0].classes
    if layout.val is None:
        require_divisible(dict(zip(classes, splits[0].num_images_per_class(), strict=True)), val_fraction)
    if len(splits) == 2:
        train, val = splits
        folders = [folder.relative_to(root).as_posix() for folder in _split_folders(layout)]
        split_rule = f"the folders {folders[0]} and {folders[1]}"
    else:
        train, val = holdout(splits[0], val_fraction, seed)
        split_rule = holdout_rule(val_fraction, seed)
    left_out = LeftOut.total(layout.left_out, *(listing.left_out for listing in listings))
    num_images = sum(map(len, splits))
    return ImageDataset(
        name=root.resolve().name or str(root),
        classes=classes,
        train=train,
        val=val,
        digest=_digest(splits),
        split_rule=split_rule,
        layout=layout.text,
        skipped=tuple(sorted(left_out.skipped, key=lambda skipped: skipped.file)),
        notes=(*layout.notes, *left_out.notes(), _note(num_images)),
    )


def listed_splits(
    root: Path,
    layout: Layout,
    max_pixels: int,
    progress: Progress | None = None,
    on_unreadable: OnUnreadable | None = None,
) -> tuple[list[Listing], list[ImageSplit]]:
    """The training images, and the validation images if they have a folder, as splits sorted by class and name, with
    listings of what was left out. Raises DataError as `check_classes` does; the arguments are those of
    `load_large_folder`."""
    kept = kept_file(root, _KIND)
    with one_at_a_time(kept):
        listed = list_splits(root, layout, kept, progress)
    listings = [listing for listing, _ in listed]
    check_classes(listings, "classification")
    classes = tuple(sorted(listings[0].classes))
    return listings, [_split(root, classes, files, max_pixels, kept, on_unreadable) for _, files in listed]


def _note(num_images: int) -> str:
    return (
        f"{num_images:,} images are not decoded before they are used: a broken one is named when it is met, replaced "
        "by the next of its class in training and left out of scores; 'efficientformer data' checks all of them"
    )


def list_splits(
    root: Path, layout: Layout, kept: Path | None = None, progress: Progress | None = None
) -> list[tuple[Listing, dict[str, ClassFiles]]]:
    """The classes of the training folder, and of the validation folder if there is one, each with its files by name.

    kept: a file that keeps the listing. Classes whose folders were not changed are taken from it, unless a file of
        the sample was changed in place: then everything is listed anew. It is written if anything was listed.
    """
    earlier = read_kept(kept, root)
    listed = [_list_split(root, folder, earlier, progress) for folder in _split_folders(layout)]
    if earlier and not _is_sample_current(root, listed):
        earlier = {}
        listed = [_list_split(root, folder, earlier, progress) for folder in _split_folders(layout)]
    found = [files for _, by_name in listed for files in by_name.values()]
    if len(found) != len(earlier) or any(earlier.get(files.folder) is not files for files in found):
        write_kept(kept, root, found)
    return listed


def _split_folders(layout: Layout) -> list[Path]:
    return [layout.train] if layout.val is None else [layout.train, layout.val]


def _list_split(
    root: Path, folder: Path, earlier: Mapping[str, ClassFiles], progress: Progress | None
) -> tuple[Listing, dict[str, ClassFiles]]:
    listing, class_folders = begin_listing(root, folder)

    def files_of(class_folder: Path) -> ClassFiles:
        known = earlier.get(relative(root, str(class_folder)))
        return known if known is not None and known.is_current(root) else list_class(root, class_folder)

    by_name: dict[str, ClassFiles] = {}
    for class_folder, files in zip(class_folders, map_in_threads(files_of, class_folders, progress), strict=True):
        name = listing.add_class(class_folder, files.left_out, has_images=len(files.files) > 0)
        if name is not None:
            by_name[name] = files
    require_classes(listing, class_folders)
    return listing, dict(sorted(by_name.items()))


def _is_sample_current(root: Path, listed: Sequence[tuple[Listing, dict[str, ClassFiles]]]) -> bool:
    for _, by_name in listed:
        source = _source(root, [*by_name.values()])
        try:
            if not all(map_in_threads(source.is_as_listed, spread(len(source.files), _SAMPLE), None)):
                return False
        except OSError:
            return False
    return True


def _source(root: Path, classes: Sequence[ClassFiles], **options: object) -> LargeSource:
    files = Texts.concatenated([each.files for each in classes])
    sizes, modified = ([getattr(each, name) for each in classes] for name in ("sizes", "modified"))
    return LargeSource(root, files, np.concatenate(sizes), np.concatenate(modified), **{"max_pixels": 0, **options})


def _split(
    root: Path,
    classes: tuple[str, ...],
    by_name: Mapping[str, ClassFiles],
    max_pixels: int,
    kept: Path | None,
    on_unreadable: OnUnreadable | None,
) -> ImageSplit:
    source = _source(root, [*by_name.values()], max_pixels=max_pixels, kept=kept, on_unreadable=on_unreadable)
    numbers = [classes.index(name) for name in by_name]
    labels = np.repeat(np.array(numbers, np.int32), [len(files.files) for files in by_name.values()])
    return ImageSplit(source, classes, Numbers(labels), Numbers(np.arange(len(labels), dtype=np.int32)))


def spread(number: int, most: int) -> list[int]:
    """At most so many positions at equal distances; all of them if they are few."""
    return np.unique(np.linspace(0, number - 1, min(number, most)).round().astype(int)).tolist()


def _digest(splits: Sequence[ImageSplit]) -> str:
    """SHA-256 over names, classes and sizes of all images, and the contents of the sample. Times are not in it: a copy
    of the folder is the same data set."""
    digest = hashlib.sha256("\0".join(splits[0].classes).encode())
    for split in splits:
        source, labels = split.source, split.labels
        assert isinstance(source, LargeSource) and isinstance(labels, Numbers)
        files = source.files
        if not files.joined.isascii():
            files = Texts.of(map(composed, files))
        for part in (files.ends, source.sizes, labels.array):
            digest.update(part.astype("<i8").tobytes())
        digest.update(files.joined)
        paths = [source.root / source.files[position] for position in spread(len(split), _SAMPLE)]
        try:
            for content in map_in_threads(file_digest, paths, None):
                digest.update(content.encode())
        except OSError as error:
            raise DataError(f"An image cannot be read: {error}. Restore it, or remove it.") from error
    return digest.hexdigest()

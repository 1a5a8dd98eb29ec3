"""A large folder as a data set: names, sizes and times are known, contents are not, but for a sample of them."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from efficientformer.data.compact.numbers import Numbers
from efficientformer.data.compact.texts import Texts
from efficientformer.data.dataset import ImageSplit
from efficientformer.data.images import Progress, map_in_threads
from efficientformer.data.large.class_files import ClassFiles, list_class
from efficientformer.data.large.found import FoundSet, sample
from efficientformer.data.large.kept import kept_file, one_at_a_time, read_kept, write_kept
from efficientformer.data.large.source import LargeSource
from efficientformer.data.large.undecoded import OnUnreadable
from efficientformer.data.layout import Layout
from efficientformer.data.listing import Listing, begin_listing, check_classes, require_classes
from efficientformer.data.walk import LeftOut, Walk, relative

LARGE = 100_000
"""Images from which on a folder is large."""
_KIND = "listings"


def is_large(root: Path, layout: Layout) -> bool:
    """Whether the folder holds so many pictures that they are not all decoded before they are used."""
    walk = Walk(root)
    pictures = itertools.chain.from_iterable(map(walk.pictures, _split_folders(layout)))
    return sum(1 for _ in itertools.islice(pictures, LARGE)) == LARGE


def is_many(num_images: int) -> bool:
    """Whether images of this number are not all decoded before they are used."""
    return num_images >= LARGE


def found_folder(
    root: Path,
    layout: Layout,
    max_pixels: int,
    progress: Progress | None = None,
    on_unreadable: OnUnreadable | None = None,
) -> FoundSet:
    """The images of class folders, listed and not decoded.

    progress: called with the number of class folders that were listed, and of those to list.
    on_unreadable: called with each image that turns out to be undecodable when it is used, once.

    Raises DataError as `check_classes` does.
    """
    listings, splits = listed_splits(root, layout, max_pixels, progress, on_unreadable)
    folders = [folder.relative_to(root).as_posix() for folder in _split_folders(layout)]
    left_out = LeftOut.total(layout.left_out, *(listing.left_out for listing in listings))
    return FoundSet(
        name=root.resolve().name or str(root),
        root=root,
        splits=splits,
        is_large=is_many(sum(map(len, splits))),
        layout=layout.text,
        rule=f"the folders {folders[0]} and {folders[1]}" if len(folders) == 2 else "",
        notes=(*layout.notes, *left_out.notes()),
        skipped=tuple(sorted(left_out.skipped, key=lambda skipped: skipped.file)),
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
    `found_folder`."""
    kept = kept_file(root, _KIND)
    with one_at_a_time(kept):
        listed = list_splits(root, layout, kept, progress)
    listings = [listing for listing, _ in listed]
    check_classes(listings, "classification")
    classes = tuple(sorted(listings[0].classes))
    return listings, [_split(root, classes, files, max_pixels, kept, on_unreadable) for _, files in listed]


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
            if not all(map_in_threads(source.is_as_listed, sample(len(source.files)), None)):
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

"""The images of a list as a set that was found and not decoded."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from efficientformer.data.compact.numbers import Numbers
from efficientformer.data.compact.texts import Texts
from efficientformer.data.content import file_state
from efficientformer.data.dataset import ImageSplit, Label
from efficientformer.data.large.found import FoundSet
from efficientformer.data.large.load import is_many
from efficientformer.data.large.source import LargeSource
from efficientformer.data.large.undecoded import OnUnreadable
from efficientformer.data.listing import ListedSet, Listing
from efficientformer.formats.values import TaskName


def found_list(path: Path, listed: ListedSet, max_pixels: int, on_unreadable: OnUnreadable | None = None) -> FoundSet:
    """The images of a list at `path`, as `read_image_list` gave them.

    on_unreadable: see `found_folder`.
    """
    classes = tuple(sorted(listed.train.classes))
    return FoundSet(
        name=listed.name,
        root=path,
        splits=[_split(listing, classes, listed.task, max_pixels, on_unreadable) for listing in listed.listings],
        is_large=is_many(listed.num_images),
        layout=listed.layout,
        rule="" if listed.val is None else listed.split_rule,
        notes=listed.notes,
        task=listed.task,
    )


def _split(
    listing: Listing, classes: tuple[str, ...], task: TaskName, max_pixels: int, on_unreadable: OnUnreadable | None
) -> ImageSplit:
    files = Texts.of(image.file for image in listing.images)
    states = np.array([file_state(listing.root / file) for file in files], np.int64)
    options = {"max_pixels": max_pixels, "on_unreadable": on_unreadable}
    source = LargeSource(listing.root, files, states[:, 0], states[:, 1], **options)
    return ImageSplit(source, classes, _labels(listing, classes, task), Numbers(np.arange(len(files), dtype=np.int32)))


def _labels(listing: Listing, classes: tuple[str, ...], task: TaskName) -> Sequence[Label]:
    number_of = {name: number for number, name in enumerate(classes)}
    sets = [tuple(sorted(number_of[name] for name in image.class_names)) for image in listing.images]
    return sets if task == "multi_label" else Numbers(np.array([only for (only,) in sets], np.int32))

"""The images of a folder or a list, before any is decoded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efficientformer.data.compact.texts import Texts
from efficientformer.data.dataset import ImageSplit, Label, SkippedFile
from efficientformer.data.image_list import is_image_list, read_image_list
from efficientformer.data.images import Progress
from efficientformer.data.large import load
from efficientformer.data.large.source import LargeSource
from efficientformer.data.layout import find_layout
from efficientformer.data.listing import Listing
from efficientformer.data.walk import LeftOut
from efficientformer.errors import UsageError
from efficientformer.formats.values import TaskName
from efficientformer.paths import usable_path
from efficientformer.tasks.layouts import dense_tasks_at
from efficientformer.tasks.words import task_words


@dataclass(frozen=True, eq=False)
class GivenImages:
    """Splits of images that are sorted by class and name: of training, and of validation where these are given.

    rule: where the validation images come from, in words; empty where they are to be held out.
    """

    name: str
    root: Path
    task: TaskName
    layout: str
    rule: str
    notes: tuple[str, ...]
    skipped: tuple[SkippedFile, ...]
    splits: list[ImageSplit]

    @property
    def is_large(self) -> bool:
        return sum(map(len, self.splits)) >= load.LARGE

    @property
    def files(self) -> Texts:
        """Of all splits, one after another."""
        return Texts.concatenated([source_of(split).files for split in self.splits])


def source_of(split: ImageSplit) -> LargeSource:
    assert isinstance(split.source, LargeSource)
    return split.source


def given_images(path: Path | str, *, max_pixels: int, progress: Progress | None = None) -> GivenImages:
    """Raises DataError for what cannot be used as a set of images with classes, UsageError for masks and boxes."""
    given = usable_path(Path(path).expanduser(), "the folder of images")
    if dense := dense_tasks_at(given):
        raise UsageError(
            f"{given} has images with {task_words(dense[0]).labels}, which training checks. This is for images with "
            "classes: folders <class>/, or a list."
        )
    if is_image_list(given):
        listed = read_image_list(given)
        classes = tuple(sorted(listed.train.classes))
        splits = [_listed_split(listing, classes, listed.task, max_pixels) for listing in listed.listings]
        rule = "" if listed.val is None else listed.split_rule
        return GivenImages(listed.name, given.parent, listed.task, listed.layout, rule, listed.notes, (), splits)
    layout = find_layout(given)
    listings, splits = load.listed_splits(given, layout, max_pixels, progress)
    left_out = LeftOut.total(layout.left_out, *(listing.left_out for listing in listings))
    rule = "" if layout.val is None else f"the folder {layout.val.relative_to(given).as_posix()}"
    notes, name = (*layout.notes, *left_out.notes()), given.resolve().name or str(given)
    skipped = tuple(sorted(left_out.skipped, key=lambda skipped: skipped.file))
    return GivenImages(name, given, "classification", layout.text, rule, notes, skipped, splits)


def _listed_split(listing: Listing, classes: tuple[str, ...], task: TaskName, max_pixels: int) -> ImageSplit:
    files = Texts.of(image.file for image in listing.images)
    unknown = np.zeros(len(files), np.int64)
    source = LargeSource(listing.root, files, unknown, unknown, max_pixels=max_pixels)
    number_of = {name: number for number, name in enumerate(classes)}
    sets = [tuple(sorted(number_of[name] for name in image.class_names)) for image in listing.images]
    labels: list[Label] = [*sets] if task == "multi_label" else [only for (only,) in sets]
    return ImageSplit(source, classes, labels, range(len(labels)))

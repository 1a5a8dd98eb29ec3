"""A set of images that were found and not decoded, and the data set that it makes.

Of many images, none is decoded before it is used: decoding a million once takes as long as an epoch. Broken ones are
named when they are met. That the images are still the same is known by their names and sizes and by the contents of a
sample. Of fewer images all are decoded at first, and broken ones left out.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efficientformer.data.compact.numbers import Numbers
from efficientformer.data.compact.texts import Texts
from efficientformer.data.dataset import (
    ImageDataset,
    ImageSplit,
    Label,
    SkippedFile,
    classes_of,
    holdout,
    holdout_rule,
    require_divisible,
)
from efficientformer.data.images import Progress, map_in_threads
from efficientformer.data.large.checks import Checks, check_all
from efficientformer.data.large.kept import kept_file, one_at_a_time
from efficientformer.data.large.undecoded import UndecodedSource
from efficientformer.data.listing import named
from efficientformer.data.walk import composed
from efficientformer.errors import DataError
from efficientformer.formats.values import TaskName

SAMPLE = 1000
"""Images of a split whose contents are known of a set that is not decoded."""


@dataclass(frozen=True, eq=False)
class FoundSet:
    """Splits of images that are sorted by class and name: of training, and of validation where these are given.

    root: what was given, a folder or a file.
    is_large: whether images are not decoded before they are used.
    rule: where the validation images come from, in words; empty where they are to be held out.
    """

    name: str
    root: Path
    splits: list[ImageSplit]
    is_large: bool
    layout: str
    rule: str = ""
    notes: tuple[str, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()
    task: TaskName = "classification"

    @property
    def sources(self) -> list[UndecodedSource]:
        return [source_of(split) for split in self.splits]

    @property
    def num_images(self) -> int:
        return sum(map(len, self.splits))

    def split_up(
        self, problems: Mapping[int, str], val_fraction: float, seed: int
    ) -> tuple[tuple[ImageSplit, ImageSplit], str]:
        """Usable images for training and for validation, and where the latter come from.

        problems: by position among the images of all sources, those that cannot be decoded. Of a large set images are
        held out before it is known which are.
        """
        starts = self.starts

        def usable(split: ImageSplit) -> ImageSplit:
            if not problems:
                return split
            start = starts[id(split.source)]
            chosen = [index for index, position in enumerate(split.positions) if start + position not in problems]
            return split if len(chosen) == len(split) else split.subset(chosen)

        if len(self.splits) == 2:
            return (usable(self.splits[0]), usable(self.splits[1])), self.rule
        (only,) = self.splits
        train, val = holdout(only if self.is_large else usable(only), val_fraction, seed)
        return (usable(train), usable(val)), holdout_rule(val_fraction, seed)

    @property
    def starts(self) -> dict[int, int]:
        """The position of the first image of each source among all images, by the source's identity."""
        lengths = [len(source.files) for source in self.sources]
        return {id(source): sum(lengths[:place]) for place, source in enumerate(self.sources)}

    def broken(self, checks: Checks) -> list[SkippedFile]:
        """Images that cannot be decoded, by name, and why."""
        first = len(self.sources[0].files)
        found = []
        for position, reason in sorted(checks.problems.items()):
            place, index = (0, position) if position < first else (1, position - first)
            found.append(SkippedFile(self.sources[place].name(index), reason))
        return found


def source_of(split: ImageSplit) -> UndecodedSource:
    assert isinstance(split.source, UndecodedSource)
    return split.source


def check_found(found: FoundSet, max_pixels: int, progress: Progress | None = None) -> tuple[Checks, int]:
    """Read and decode every image, or know it from earlier; and the number of those that were read now. Checks are kept
    in this user's cache."""
    kept = kept_file(found.root, "checks")
    with one_at_a_time(kept):
        return check_all(found.sources, max_pixels=max_pixels, kept=kept, progress=progress)


def as_dataset(
    found: FoundSet, *, val_fraction: float, seed: int, max_pixels: int, progress: Progress | None = None
) -> ImageDataset:
    """The set with its validation images, held out where there are none. All images are decoded now unless it is large.

    progress: called with the number of images that were checked now, and of those to check.
    """
    first, checks = found.splits[0], None
    if len(found.splits) == 1:
        require_divisible(dict(zip(first.classes, first.num_images_per_class(), strict=True)), val_fraction)
    if not found.is_large:
        checks, _ = check_found(found, max_pixels, progress)
        _require_usable(found, checks)
        for source in found.sources:
            source.was_checked = True
    (train, val), rule = found.split_up(checks.problems if checks else {}, val_fraction, seed)
    broken = found.broken(checks) if checks else []
    return ImageDataset(
        name=found.name,
        classes=first.classes,
        train=train,
        val=val,
        digest=_digest(found.splits, checks),
        split_rule=rule,
        task=found.task,
        layout=found.layout,
        skipped=tuple(sorted([*found.skipped, *broken], key=lambda skipped: skipped.file)),
        notes=(*found.notes, *([_note(found.num_images)] if found.is_large else [])),
        warnings=unscored(val, found.task),
    )


def require_classes(splits: Sequence[ImageSplit], where: str) -> None:
    """Raises DataError for classes that cannot be learned: only one, or one without images in a split."""
    classes = splits[0].classes
    if len(classes) < 2:
        raise DataError(f"Only one class in {where}: {named(classes)}. A classifier needs at least two.")
    for what, split in zip(("training", "validation"), splits, strict=False):
        counts = zip(classes, split.num_images_per_class(), strict=True)
        if absent := {name for name, count in counts if not count}:
            raise DataError(f"No {what} image of {named(absent)} in {where}. Add some, or remove the class.")


def _note(num_images: int) -> str:
    return (
        f"{num_images:,} images are not decoded before they are used: a broken one is named when it is met, replaced "
        "by the next of its class in training and left out of scores; 'efficientformer data' checks all of them"
    )


def _require_usable(found: FoundSet, checks: Checks) -> None:
    """Raises DataError for a class of which no image can be decoded."""
    for split, start in zip(found.splits, found.starts.values(), strict=True):
        usable = [index for index, position in enumerate(split.positions) if start + position not in checks.problems]
        for number, count in enumerate(split.subset(usable).num_images_per_class()):
            if not count:
                index = split.labels.index(number)
                problem = checks.problems[start + split.positions[index]]
                raise DataError(
                    f"No usable image of class '{split.classes[number]}' in {found.name}: none can be decoded "
                    f"({split.name(index)}: {problem}). Add images or remove the class."
                )


def unscored(val: ImageSplit, task: TaskName) -> tuple[str, ...]:
    """A warning of the classes that no validation image has. Raises DataError where no validation image has a label."""
    counts = zip(val.classes, val.num_images_per_class(), strict=True)
    absent = [name for name, count in counts if not count]
    if task == "classification" or not absent:
        return ()
    if len(absent) == len(val.classes):
        raise DataError("No usable validation image has a label, so nothing could be scored. Add some.")
    return (f"no validation image has {named(absent)}: the scores leave out what has none",)


def sample(number: int) -> list[int]:
    """Positions of the images that stand for so many."""
    return spread(number, SAMPLE)


def spread(number: int, most: int) -> list[int]:
    """At most so many positions at equal distances; all of them if they are few."""
    return np.unique(np.linspace(0, number - 1, min(number, most)).round().astype(int)).tolist()


def _digest(splits: Sequence[ImageSplit], checks: Checks | None) -> str:
    """SHA-256 over names, classes and sizes of all images, and the contents of all that were checked, else of the
    sample. Times are not in it: a copy of the folder is the same data set."""
    digest = hashlib.sha256("\0".join(splits[0].classes).encode())
    for split in splits:
        source = source_of(split)
        files = source.files
        if not files.joined.isascii():
            files = Texts.of(map(composed, files))
        for part in (files.ends, source.sizes, _label_numbers(split.labels)):
            digest.update(part.astype("<i8").tobytes())
        digest.update(files.joined)
        try:
            if checks is None:
                for content in map_in_threads(source.digest, sample(len(split)), None):
                    digest.update(content.encode())
        except OSError as error:
            raise DataError(f"An image cannot be read: {error}. Restore it, or remove it.") from error
    if checks is not None:
        digest.update(checks.digests.tobytes())
    return digest.hexdigest()


def _label_numbers(labels: Sequence[Label]) -> np.ndarray:
    """The classes of images as one row of numbers, after where each ends unless all have one."""
    if isinstance(labels, Numbers):
        return labels.array
    sets = [*map(classes_of, labels)]
    return np.array([*itertools.accumulate(map(len, sets)), *itertools.chain.from_iterable(sets)], np.int64)

"""Labelled image sets, wherever their images are stored.

A split pairs labels with an image source; the source opens and names the images. No torch here.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from PIL import Image
from typing_extensions import TypedDict

from efficientformer.data.compact.numbers import Numbers
from efficientformer.data.images import Progress
from efficientformer.errors import DataError, UsageError
from efficientformer.formats.values import TaskName

Channels = tuple[float, float, float]


class DenseLabel(Protocol):
    """A label that lies in the image, such as a mask or boxes, and is resized, cropped and mirrored with it."""

    @property
    def classes(self) -> tuple[int, ...]:
        """The numbers of the classes in the image, in ascending order."""
        ...

    def held(self, width: int, height: int) -> "DenseLabel":
        """The same label in memory, of the image at this size, which may be smaller than it was."""
        ...


Label = int | tuple[int, ...] | DenseLabel
"""The number of an image's class; where images have several labels or none, the numbers of all its classes; of dense
tasks what lies in the image."""

_Value = TypeVar("_Value")

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)
UNLABELLED = -1
"""Label of an image without one."""
TO_HOLD_OUT = "one to train on and one to hold out"
TO_SEARCH = "to train on, to score a search and to validate"


@dataclass(frozen=True)
class SkippedFile:
    """A file that was left out, and why, in one line."""

    file: str
    reason: str


class UnreadableImageError(DataError):
    """An image that cannot be decoded, which nobody knew: the images of its source were not decoded before."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.skipped = SkippedFile(name, reason)

    def __str__(self) -> str:
        return f"{self.skipped.file} cannot be decoded: {self.skipped.reason}. Replace or remove it."


class ImageSource(Protocol):
    """Images addressed by position."""

    def open(self, position: int, at_least: int | None = None) -> Image.Image:
        """The image in RGB, perhaps smaller but with `at_least` pixels on its shorter side, if that is quicker.

        Raises DataError when it cannot be read (any more).
        """
        ...

    def name(self, position: int) -> str:
        """A name that is unique in the source and the same on every machine."""
        ...


class UncheckedSource(ImageSource, Protocol):
    """A source whose `open` may raise UnreadableImageError."""

    def report(self, skipped: SkippedFile) -> None:
        """Name an image that was met and cannot be decoded. Called in the process that loads, not in its workers."""
        ...


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """Labelled images of one split. `positions[i]` is the position of image i in the source."""

    source: ImageSource
    classes: tuple[str, ...]
    labels: Sequence[Label]
    positions: Sequence[int]

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int, at_least: int | None = None) -> Image.Image:
        """Image `index` in RGB, perhaps smaller but with `at_least` pixels on its shorter side, if that is quicker.

        Raises DataError when it cannot be read (any more).
        """
        return self.source.open(self.positions[index], at_least)

    def name(self, index: int) -> str:
        return self.source.name(self.positions[index])

    def subset(self, indices: Sequence[int]) -> "ImageSplit":
        """The images at `indices`, in that order, sharing the same source."""
        return ImageSplit(self.source, self.classes, _taken(self.labels, indices), _taken(self.positions, indices))

    @property
    def has_one_class_each(self) -> bool:
        """Whether labels are the numbers of classes, instead of sets of them."""
        return len(self.labels) == 0 or isinstance(self.labels[0], int)

    def num_images_per_class(self) -> list[int]:
        if isinstance(self.labels, Numbers):
            return self.labels.counts(len(self.classes))
        counts = Counter(number for label in self.labels for number in classes_of(label))
        return [counts[number] for number in range(len(self.classes))]

    def groups(self) -> list[int]:
        """A group of each image, for draws that treat groups alike: its class or, of several, the one with the fewest
        images. Images without labels are one more group."""
        counts, no_label = self.num_images_per_class(), len(self.classes)
        return [
            min(classes_of(label), key=lambda number: (counts[number], number), default=no_label)
            for label in self.labels
        ]


def _taken(values: Sequence[_Value], indices: Sequence[int]) -> Sequence[_Value]:
    """Those at `indices`; of an array an array."""
    if isinstance(values, Numbers):
        return cast(Sequence[_Value], values.taken(indices))
    return [values[i] for i in indices]


def classes_of(label: Label) -> tuple[int, ...]:
    """The numbers of the classes of an image."""
    if isinstance(label, int):
        return () if label == UNLABELLED else (label,)
    return label if isinstance(label, tuple) else label.classes


class LoadOptions(TypedDict, total=False):
    """How a set of images is loaded, whatever its task; see `image_folder.load_image_folder`.

    skip_bad: leave out images whose label cannot be used, where a task would refuse the set.
    on_unreadable: called with each image that turns out to be undecodable when it is used, of sets that are too large
        to decode before; once for each.
    """

    val_fraction: float
    seed: int
    max_pixels: int
    progress: Progress | None
    record: Path | None
    is_first: bool
    skip_bad: bool
    on_unreadable: Callable[[SkippedFile], None] | None


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A named image set with its two splits.

    digest: of the names, labels and contents, so that a changed set is noticed.
    split_rule: where the validation images come from, in words.
    task: what the labels ask for.
    layout: how the folder was understood, in words.
    skipped: pictures and folders that were left out.
    notes: what was left out without a reason of its own, a line each.
    warnings: what is odd about the images, a line each.
    native_resolution: side of the images if all are squares of the same known size, else None.
    mean, std: of pixels from 0 to 1.
    category_ids: of a detection, what its annotations call the classes.
    """

    name: str
    classes: tuple[str, ...]
    train: ImageSplit
    val: ImageSplit
    digest: str
    split_rule: str
    task: TaskName = "classification"
    layout: str = ""
    skipped: tuple[SkippedFile, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    native_resolution: int | None = None
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    category_ids: tuple[int, ...] = ()

    @property
    def is_held_out(self) -> bool:
        """Whether the validation images are held out of those given for training."""
        return self.val.source is self.train.source

    def to_record(self) -> dict[str, Any]:
        """The content of `data.json` without preprocessing and provenance."""
        return {
            "name": self.name,
            "task": self.task,
            "classes": list(self.classes),
            "train": _counts(self.train),
            "val": _counts(self.val),
            "skipped": [{"file": skipped.file, "reason": skipped.reason} for skipped in self.skipped],
            "digest": self.digest,
            "split_rule": self.split_rule,
            "layout": self.layout,
            "notes": [*self.notes, *self.warnings],
        }


def _counts(split: ImageSplit) -> dict[str, Any]:
    return {"num_images": len(split), "per_class": split.num_images_per_class()}


def holdout_rule(fraction: float, seed: int) -> str:
    """What `holdout` does, in words."""
    return f"{fraction:.3g} of each class held out, seed {seed}"


def holdout(split: ImageSplit, fraction: float, seed: int) -> tuple[ImageSplit, ImageSplit]:
    """Split into (rest, held out): `fraction` of each class is held out, at least one image on both sides; with 1, all
    are held out, for an evaluation alone.

    A hash of seed and name decides, so the choice is the same on every machine and adding an image to the set moves few
    others. Both sides keep the order of `split`. Raises DataError that names the classes with only one image,
    UsageError for a fraction outside 0 to 1. Of images with several classes see `_hold_out_label_sets`.
    """
    if fraction == 1:
        return split.subset([]), split
    _require_fraction(fraction)
    held_out = (_hold_out_of_classes if split.has_one_class_each else _hold_out_label_sets)(split, fraction, seed)
    everything = range(len(split))
    return split.subset([i for i in everything if i not in held_out]), split.subset(sorted(held_out))


def _hold_out_of_classes(split: ImageSplit, fraction: float, seed: int) -> set[int]:
    counts = zip(split.classes, split.num_images_per_class(), strict=True)
    refuse_small_classes({name: count for name, count in counts if count}, 2, TO_HOLD_OUT)
    by_class: dict[Label, list[int]] = {}
    for index, label in enumerate(split.labels):
        by_class.setdefault(label, []).append(index)
    draws = _draws(split, seed)
    held_out: set[int] = set()
    for indices in by_class.values():
        drawn = sorted(indices, key=draws.__getitem__)
        held_out.update(drawn[: num_held_out(len(indices), fraction)])
    return held_out


def _hold_out_label_sets(split: ImageSplit, fraction: float, seed: int) -> set[int]:
    """Indices of `fraction` of each class and of the images without labels, as nearly as images of several classes
    allow: rare classes first, since an image that is held out for one is held out for its others (Sechidis et al.,
    2011). An image that is the last of one of its classes stays, so that every class can be learned.

    Raises DataError where no image can be held out.
    """
    left = split.num_images_per_class()
    to_leave = [left_of - num_held_out(left_of, fraction) for left_of in left]
    members: dict[int, list[int]] = {number: [] for number in sorted(range(len(left)), key=left.__getitem__)}
    without: list[int] = []
    for index in sorted(range(len(split)), key=_draws(split, seed).__getitem__):
        numbers = classes_of(split.labels[index])
        for number in numbers:
            members[number].append(index)
        if not numbers:
            without.append(index)
    held_out, settled = set(without[: round(len(without) * fraction)]), set[int]()
    for number, indices in members.items():
        for index in indices:
            numbers = classes_of(split.labels[index])
            if index not in settled and left[number] > to_leave[number] and all(left[other] > 1 for other in numbers):
                held_out.add(index)
                for other in numbers:
                    left[other] -= 1
        settled.update(indices)
    if not held_out:
        raise DataError("No image can be held out: each is the only one of a class. Add images of the same labels.")
    return held_out


def _require_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise UsageError(f"The fraction to hold out must lie between 0 and 1, for example 0.2; got {fraction}.")


def num_held_out(num_images: int, fraction: float) -> int:
    """Images that `holdout` takes of a class with so many, at least two."""
    return min(max(round(num_images * fraction), 1), num_images - 1)


def fewest_to_search(val_fraction: float) -> int:
    """Fewest images of a class for a search, which holds one out after `val_fraction` was held out for validation."""
    _require_fraction(val_fraction)
    return next(n for n in itertools.count(3) if n - num_held_out(n, val_fraction) >= 2)


def refuse_small_classes(num_images: Mapping[str, int], needed: int, why: str) -> None:
    """Raises DataError that names the classes with fewer images than needed, the smallest first, and their numbers."""
    small = sorted((count, name) for name, count in num_images.items() if count < needed)
    if not small:
        return
    named = ", ".join(f"'{name}' has {count}" for count, name in small[:10])
    more = f" and {len(small) - 10} more classes" if len(small) > 10 else ""
    raise DataError(
        f"Too few usable images: {named}{more}; every class needs at least {needed}, {why}. Add images to these "
        "classes or remove the classes."
    )


def require_divisible(num_images: Mapping[str, int], val_fraction: float) -> None:
    """Raises DataError that names the classes of one image, of which none can be held out, unless all images are."""
    if val_fraction < 1 and min(num_images.values()) < 2:
        why = f"{TO_SEARCH}, or 2 to fine-tune a network"
        refuse_small_classes(num_images, fewest_to_search(val_fraction), why)


def _draws(split: ImageSplit, seed: int) -> list[bytes]:
    """Of each image what decides its place: those with the least are held out."""
    names = map(split.source.name, split.positions)
    return [hashlib.sha256(f"{seed}/{name}".encode()).digest() for name in names]

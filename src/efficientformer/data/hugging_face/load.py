"""A Hugging Face data set as a set of images, each read from its Arrow files when it is used."""

from pathlib import Path
from typing import Any

import numpy as np

from efficientformer.data.compact.numbers import Numbers
from efficientformer.data.compact.texts import Texts
from efficientformer.data.content import FileState, file_state
from efficientformer.data.dataset import ImageSplit
from efficientformer.data.hugging_face import library
from efficientformer.data.hugging_face.name import HubName
from efficientformer.data.large import load
from efficientformer.data.large.found import FoundSet, require_classes
from efficientformer.data.large.undecoded import OnUnreadable, UndecodedSource
from efficientformer.data.layout import role_of
from efficientformer.errors import DataError


class HubSource(UndecodedSource):
    """The images of a split, by their rows. The library writes its files once and never changes them.

    images: the column of images, undecoded. The other arguments are those of `UndecodedSource`.
    """

    def __init__(self, root: Path, split: str, images: Any, image: str, **options: Any) -> None:
        names = Texts.of(f"{split}/{row:08d}" for row in range(len(images)))
        super().__init__(root, names, library.num_bytes(images, image), **options)
        self._images, self._image = images, image
        self._state = _joint_state([file["filename"] for file in images.cache_files])

    def place(self, position: int) -> str:
        return f"{self.root}: {self.name(position)}"

    def state(self, position: int) -> FileState:
        return self._state

    def is_as_listed(self, position: int) -> bool:
        return True

    def content(self, position: int) -> bytes:
        value = self._images[int(position)][self._image]
        return value["bytes"] if value["bytes"] is not None else Path(value["path"]).read_bytes()


def found_hugging_face(path: Path, max_pixels: int, on_unreadable: OnUnreadable | None = None) -> FoundSet:
    """Raises UsageError where the package datasets is missing, DataError for what cannot be used as images with
    classes."""
    name = HubName.parse(path)
    opened = library.open_splits(name)
    used = _used_splits([*opened], name)
    image, label = library.columns(opened[used[0]], name)
    splits = [_split(path, split, opened[split], image, label, max_pixels, on_unreadable) for split in used]
    require_classes(splits, name.source)
    left_out = [split for split in opened if split not in used]
    return FoundSet(
        name=name.short,
        root=path,
        splits=splits,
        is_large=sum(map(len, splits)) >= load.LARGE,
        layout=f"Hugging Face data set: images in '{image}', classes in '{label}'; splits: {', '.join(used)}",
        rule=f"the split {used[1]}" if len(used) == 2 else "",
        notes=(f"splits that are not used: {', '.join(left_out)}",) if left_out else (),
    )


def _used_splits(names: list[str], name: HubName) -> list[str]:
    """The split for training, and the one for validation, or else for test, if there is one; a single one, whatever it
    is called, is for training."""
    if len(names) == 1:
        return names
    train, val, test = ([split for split in names if role_of(split) == role] for role in ("train", "val", "test"))
    val = val or test
    if len(train) != 1 or len(val) > 1:
        raise DataError(
            f"{name.source} has the splits {', '.join(names)}, and it is not certain which are for training and for "
            "validation. Save one called train and one called validation, and give that folder."
        )
    return [*train, *val]


def _split(
    root: Path, split: str, rows: Any, image: str, label: str, max_pixels: int, on_unreadable: OnUnreadable | None
) -> ImageSplit:
    """Sorted by class. Raises DataError for an image without a class."""
    labels, classes = library.numbers(rows, label), library.class_names(rows, label)
    if bad := int(((labels < 0) | (labels >= len(classes))).sum()):
        raise DataError(f"{bad:,} images of the split {split} of {root} have no class. Remove them, or the split.")
    source = HubSource(
        root, split, library.undecoded(rows, image), image, max_pixels=max_pixels, on_unreadable=on_unreadable
    )
    order = np.argsort(labels, kind="stable").astype(np.int32)
    return ImageSplit(source, classes, Numbers(labels[order]), Numbers(order))


def _joint_state(files: list[str]) -> FileState:
    """The state of several files as if they were one."""
    states = [file_state(file) for file in files] or [(0, 0, 0, 0)]
    sizes, modified, changed, numbers = zip(*states, strict=True)
    return sum(sizes), max(modified), max(changed), sum(numbers) % 2**62

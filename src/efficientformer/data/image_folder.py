"""A folder of images as a data set: every file is decoded once, so that unusable files are known from the start."""

import functools
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from efficientformer.data.dataset import ImageDataset, ImageSplit, SkippedFile, holdout
from efficientformer.data.images import Progress, map_in_threads, read_image
from efficientformer.data.listing import ListedImage, Listing, find_layout, list_images, listing_digest
from efficientformer.errors import DataError

# Enough pixels for the check to run the whole decoder; large JPEG files are decoded at a fraction of their size.
_CHECK_AT_LEAST = 64


@dataclass(frozen=True, eq=False)
class FolderSource:
    """Images decoded from their files each time they are opened."""

    root: Path
    images: tuple[ListedImage, ...]

    def open(self, position: int, at_least: int | None = None) -> Image.Image:
        image = self.images[position]
        try:
            return read_image(self.root / image.file, at_least=at_least)
        except DataError as error:
            raise DataError(
                f"{self.root / image.file} could be read before and now cannot: {error}. "
                "Restore the file, or start over in a new run directory."
            ) from error

    def name(self, position: int) -> str:
        return self.images[position].name


def load_image_folder(
    path: Path | str,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    progress: Progress | None = None,
    known: Mapping[str, Any] | None = None,
) -> ImageDataset:
    """Load `path/train/<class>/` and `path/val/<class>/`, or hold out a part of `path/<class>/` for validation.

    The validation folder may also be called validation, valid or test. Without one, `val_fraction` of each class is
    held out, the same images for the same `seed`. Files that cannot be decoded are left out and named in `skipped`.
    `progress(done, total)` follows the decoding. `known` is the record (`to_record`) of an earlier load: if its
    digest still fits the folder, its list of skipped files is used and nothing is decoded.
    Raises DataError when the folder cannot be used as a data set.
    """
    root = Path(path).expanduser()
    layout = find_layout(root)
    listings = [list_images(root, folder) for folder in (layout.train, layout.val) if folder is not None]
    digest = listing_digest(listings)
    _check_classes(listings)
    if known is not None and known.get("digest") == digest:
        broken = {entry["file"]: entry["reason"] for entry in known["skipped"]}
    else:
        broken = _find_broken(root, [image for listing in listings for image in listing.images], progress)
    classes = tuple(sorted(listings[0].classes))
    splits = [_usable_split(listing, classes, broken) for listing in listings]
    if layout.val is not None:
        train, val = splits
        split_rule = f"the folders {layout.train.name} and {layout.val.name}"
    else:
        train, val = holdout(splits[0], val_fraction, seed)
        split_rule = f"{val_fraction:.3g} of each class held out, seed {seed}"
    skipped = {entry.file: entry for listing in listings for entry in listing.skipped}
    skipped |= {file: SkippedFile(file, reason) for file, reason in broken.items()}
    return ImageDataset(
        name=root.resolve().name or str(root),
        classes=classes,
        train=train,
        val=val,
        digest=digest,
        split_rule=split_rule,
        skipped=tuple(skipped[file] for file in sorted(skipped)),
    )


def _check_classes(listings: list[Listing]) -> None:
    train = listings[0]
    if not any(listing.images for listing in listings):
        raise DataError(f"No images in the class folders of {train.root} ({_named(train.classes)}).")
    if len(train.classes) < 2:
        (only,) = train.classes
        raise DataError(
            f"Only one class in {train.root}: '{only}'. A classifier needs at least two; "
            "each needs its own folder directly below the one you give."
        )
    for listing in listings:
        empty = listing.classes - {image.class_name for image in listing.images}
        if empty:
            raise DataError(f"No images of class {_named(empty)} in {listing.folder}. Add some or remove the folder.")
    for listing in listings[1:]:
        absent, unknown = train.classes - listing.classes, listing.classes - train.classes
        if absent or unknown:
            raise DataError(
                "The validation classes differ from the training classes."
                + (f" Only in training: {_named(absent)}." if absent else "")
                + (f" Only in validation: {_named(unknown)}." if unknown else "")
                + " Both need the same folders."
            )


def _find_broken(root: Path, images: list[ListedImage], progress: Progress | None) -> dict[str, str]:
    """Reasons by name, for the images that cannot be decoded."""
    check = functools.partial(_problem, root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata in readable pictures; threads cannot set this for themselves
        problems = list(map_in_threads(check, images, progress))
    return {image.name: problem for image, problem in zip(images, problems, strict=True) if problem is not None}


def _problem(root: Path, image: ListedImage) -> str | None:
    try:
        read_image(root / image.file, at_least=_CHECK_AT_LEAST)
    except DataError as error:
        return str(error)
    return None


def _usable_split(listing: Listing, classes: tuple[str, ...], broken: Mapping[str, str]) -> ImageSplit:
    images = tuple(image for image in listing.images if image.name not in broken)
    lost = listing.classes - {image.class_name for image in images}
    if lost:
        example = next(image.name for image in listing.images if image.class_name in lost)
        raise DataError(
            f"No usable image of class {_named(lost)} in {listing.folder}: none of its files can be decoded "
            f"({example}: {broken[example]}). Add images or remove the folder."
        )
    label_of = {class_name: label for label, class_name in enumerate(classes)}
    labels = [label_of[image.class_name] for image in images]
    return ImageSplit(FolderSource(listing.root, images), classes, labels, list(range(len(images))))


def _named(classes: Iterable[str], limit: int = 5) -> str:
    names = [f"'{name}'" for name in sorted(classes)]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more

"""A folder or a list of images as a data set: every file is decoded once, so unusable files are known at once."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from efficientformer.data.content import Content, check_files, file_state
from efficientformer.data.dataset import (
    ImageDataset,
    ImageSplit,
    Label,
    SkippedFile,
    holdout,
    holdout_rule,
    require_divisible,
)
from efficientformer.data.hugging_face.load import found_hugging_face
from efficientformer.data.hugging_face.name import is_hugging_face
from efficientformer.data.image_list import is_image_list, read_image_list
from efficientformer.data.images import Progress, read_image
from efficientformer.data.large.found import as_dataset, unscored
from efficientformer.data.large.listed import found_list
from efficientformer.data.large.load import found_folder, is_large, is_many
from efficientformer.data.large.undecoded import OnUnreadable
from efficientformer.data.layout import Layout, find_layout
from efficientformer.data.limits import MAX_PIXELS
from efficientformer.data.listing import ListedImage, ListedSet, Listing, check_classes, list_images, named
from efficientformer.data.shards.download import local_shards
from efficientformer.data.shards.layout import is_shard_set
from efficientformer.data.shards.load import found_shards
from efficientformer.data.walk import LeftOut
from efficientformer.errors import DataError
from efficientformer.formats.values import TaskName
from efficientformer.records import file_digest


@dataclass(frozen=True, eq=False)
class FolderSource:
    """Images decoded from their files each time they are opened, as long as their content is what was checked."""

    root: Path
    images: tuple[ListedImage, ...]
    contents: tuple[Content, ...]
    max_pixels: int = MAX_PIXELS

    def open(self, position: int, at_least: int | None = None) -> Image.Image:
        path, content = self.root / self.images[position].file, self.contents[position]
        try:
            has_changed = file_state(path) != content.state and file_digest(path) != content.digest
        except OSError:  # reading it says why
            has_changed = False
        if has_changed:
            raise DataError(
                f"{path} has changed since this command began. Run it again: what depends on the images is done anew."
            )
        try:
            return read_image(path, at_least=at_least, max_pixels=self.max_pixels)
        except DataError as error:
            raise DataError(
                f"{path} could be read before and now cannot: {error}. "
                "Restore the file, or run the same command again without it."
            ) from error

    def name(self, position: int) -> str:
        return self.images[position].name


def load_image_folder(
    path: Path | str,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
    record: Path | None = None,
    is_first: bool = True,
    skip_bad: bool = False,
    on_unreadable: OnUnreadable | None = None,
) -> ImageDataset:
    """Load training and validation images of folders (`find_layout`), of a list (`read_image_list`), of shards
    (`found_shards`) or of Hugging Face (`found_hugging_face`), or hold out a part of the images of each class.

    val_fraction: the part of each class that is held out where there are no validation images; the same images for the
        same `seed`.
    max_pixels: limit of an image, see `read_image`.
    progress: called with the number of files that were checked, and of those to check.
    record: a file that keeps the checks. Files that were not changed are neither read nor decoded again.
    is_first: of the processes that share the record, one writes it.
    skip_bad: without effect here: a list that names a missing file is refused, a damaged image is left out.
    on_unreadable: see `found_folder`.

    Files that cannot be decoded are left out and named in `skipped`; of a large folder (`is_large`) no file is decoded.
    Raises DataError when the folder or list cannot be used as a data set.
    """
    given = local_shards(Path(path).expanduser())
    options = {"val_fraction": val_fraction, "seed": seed, "max_pixels": max_pixels, "progress": progress}
    if is_hugging_face(given):
        return as_dataset(found_hugging_face(given, max_pixels, on_unreadable), **options)
    if is_shard_set(given):
        return as_dataset(found_shards(given, max_pixels, progress, on_unreadable), **options)
    if is_image_list(given):
        listed = read_image_list(given)
        if is_many(listed.num_images):
            check_classes(listed.listings, listed.task)
            return as_dataset(found_list(given, listed, max_pixels, on_unreadable), **options)
    else:
        layout = find_layout(given)
        if is_large(given, layout):
            # Whatever is left out of so many.
            found = replace(found_folder(given, layout, max_pixels, progress, on_unreadable), is_large=True)
            return as_dataset(found, **options)
        listed = _list_folder(given, layout)
    listings, root = listed.listings, listed.train.root
    check_classes(listings, listed.task)
    classes = tuple(sorted(listed.train.classes))
    if listed.val is None:
        counts = Counter(name for image in listed.train.images for name in image.class_names)
        require_divisible(counts, val_fraction)
    files = list(dict.fromkeys(image.file for listing in listings for image in listing.images))
    contents = check_files(root, files, max_pixels=max_pixels, record=record, is_first=is_first, progress=progress)
    splits = [_usable_split(listing, classes, contents, max_pixels, listed.task) for listing in listings]
    if listed.val is not None:
        train, val = splits
        split_rule = listed.split_rule
    else:
        train, val = holdout(splits[0], val_fraction, seed)
        split_rule = holdout_rule(val_fraction, seed)
    without_score = unscored(val, listed.task)
    left_out = LeftOut.total(listed.left_out, *(listing.left_out for listing in listings))
    return ImageDataset(
        name=listed.name,
        classes=classes,
        train=train,
        val=val,
        digest=_digest(listings, contents),
        split_rule=split_rule,
        task=listed.task,
        layout=listed.layout,
        skipped=_skipped(left_out, listings, contents),
        notes=(*listed.notes, *left_out.notes()),
        warnings=(*without_score, *_repeated(train, val, listed.task)),
    )


def _list_folder(root: Path, layout: Layout) -> ListedSet:
    train = list_images(root, layout.train)
    val = None if layout.val is None else list_images(root, layout.val)
    rule = (
        "" if layout.val is None else f"the folders {_relative(root, layout.train)} and {_relative(root, layout.val)}"
    )
    name = root.resolve().name or str(root)
    return ListedSet(name, train, val, layout.text, rule, layout.notes, layout.left_out)


def _usable_split(
    listing: Listing, classes: tuple[str, ...], contents: Mapping[str, Content], max_pixels: int, task: TaskName
) -> ImageSplit:
    images = tuple(image for image in listing.images if contents[image.file].problem is None)
    lost = listing.classes - {name for image in images for name in image.class_names}
    if lost:
        example = next(image for image in listing.images if lost & set(image.class_names))
        raise DataError(
            f"No usable image of class {named(lost)} in {listing.folder}: none of its files can be decoded "
            f"({example.name}: {contents[example.file].problem}). Add images or remove the class."
        )
    label_of = {class_name: label for label, class_name in enumerate(classes)}
    sets = [tuple(sorted(label_of[name] for name in image.class_names)) for image in images]
    labels: list[Label] = [*sets] if task == "multi_label" else [only for (only,) in sets]
    source = FolderSource(listing.root, images, tuple(contents[image.file] for image in images), max_pixels)
    return ImageSplit(source, classes, labels, list(range(len(images))))


def _digest(listings: list[Listing], contents: Mapping[str, Content]) -> str:
    """SHA-256 over the names, classes and contents of all images, and whether they can be used."""
    digest = hashlib.sha256()
    for listing in listings:
        for image in listing.images:
            content = contents[image.file]
            is_used = content.problem is None
            digest.update(f"{image.name}\0{content.digest}\0{_joined(image)}\0{is_used}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _joined(image: ListedImage) -> str:
    """The classes of an image as one text: no name contains what is between them."""
    return "\x1f".join(image.class_names)


def _skipped(left_out: LeftOut, listings: list[Listing], contents: Mapping[str, Content]) -> tuple[SkippedFile, ...]:
    skipped = {entry.file: entry for entry in left_out.skipped}
    for image in (image for listing in listings for image in listing.images):
        if problem := contents[image.file].problem:
            skipped[image.name] = SkippedFile(image.name, problem)
    return tuple(skipped[file] for file in sorted(skipped))


def _repeated(train: ImageSplit, val: ImageSplit, task: TaskName) -> tuple[str, ...]:
    """Warnings about the same picture with other labels, and in training and validation."""
    first: dict[str, tuple[Label, str]] = {}
    otherwise_labeled, in_both = [], []
    for split in (train, val):
        source = split.source
        assert isinstance(source, FolderSource)
        for label, position in zip(split.labels, split.positions, strict=True):
            name, digest = source.name(position), source.contents[position].digest
            other_label, other = first.setdefault(digest, (label, name))
            if other_label != label:
                otherwise_labeled.append(f"{name} is {other}")
            elif split is val and other != name:
                in_both.append(f"{name} is {other}")
    warnings = []
    if otherwise_labeled:
        where = "with different labels" if task == "multi_label" else "in two classes"
        warnings.append(f"the same picture {where}: {len(otherwise_labeled):,} ({otherwise_labeled[0]}, ...)")
    if in_both:
        warnings.append(f"validation images that repeat others: {len(in_both):,} ({in_both[0]}, ...)")
    return tuple(warnings)


def _relative(root: Path, folder: Path) -> str:
    return folder.relative_to(root).as_posix()

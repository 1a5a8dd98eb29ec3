"""Photographs without labels, which learn from a teacher alone."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from efficientformer.data.content import check_files
from efficientformer.data.dataset import UNLABELLED, ImageSplit, SkippedFile
from efficientformer.data.image_folder import FolderSource
from efficientformer.data.images import Progress
from efficientformer.data.large.undecoded import UndecodedSource
from efficientformer.data.limits import MAX_PIXELS
from efficientformer.data.listing import ListedImage
from efficientformer.data.walk import find_images, relative, shown
from efficientformer.errors import DataError


@dataclass(frozen=True, eq=False)
class UnlabelledImages:
    """Photographs without labels: a split in which every label is `dataset.UNLABELLED`.

    digest: of the names and contents. skipped: pictures that cannot be used. num_validation: pictures that were left
    out since they are validation images.
    """

    images: ImageSplit
    digest: str
    skipped: tuple[SkippedFile, ...]
    num_validation: int = 0


def load_unlabelled(
    folder: Path,
    *,
    validation: ImageSplit | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
    record: Path | None = None,
    is_first: bool = True,
) -> UnlabelledImages:
    """Every picture below a folder that can be decoded; the arguments are those of `load_image_folder`.

    validation: images that are left out, wherever they lie and whatever they are called: a network that learned a
        teacher's answers for them would be scored on what it was trained on.

    Raises DataError for a folder that cannot be listed, or without a usable picture.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataError(f"--unlabelled {root} is not a folder. Give another, or none.")
    found = find_images(root)
    listed = [ListedImage(relative(root, str(path)), shown(root, str(path)), ()) for path in found.files]
    files = [image.file for image in listed]
    contents = check_files(root, files, max_pixels=max_pixels, record=record, is_first=is_first, progress=progress)
    decoded = [image for image in listed if contents[image.file].problem is None]
    if not decoded:
        raise DataError(f"--unlabelled {root} has no picture that can be decoded. Give another folder, or none.")
    held_out = _digests(validation, {contents[image.file].state[0] for image in decoded})
    usable = tuple(image for image in decoded if contents[image.file].digest not in held_out)
    if not usable:
        raise DataError(f"--unlabelled {root} has no picture but validation images. Give another folder, or none.")
    problems = [(image.name, contents[image.file].problem) for image in listed]
    bad = [SkippedFile(name, problem) for name, problem in problems if problem is not None]
    digest = hashlib.sha256()
    for image in usable:
        digest.update(f"{image.name}\0{contents[image.file].digest}\n".encode())
    source = FolderSource(root, usable, tuple(contents[image.file] for image in usable), max_pixels)
    split = ImageSplit(source, (), [UNLABELLED] * len(usable), list(range(len(usable))))
    return UnlabelledImages(
        split, digest.hexdigest(), (*found.left_out.skipped, *bad), num_validation=len(decoded) - len(usable)
    )


def _digests(images: ImageSplit | None, sizes: set[int]) -> set[str]:
    """Of the contents of images in files, at least of those that have one of these sizes in bytes."""
    if images is not None and isinstance(images.source, UndecodedSource):
        return images.source.digests(images.positions, sizes)
    if images is None or not isinstance(images.source, FolderSource):
        return set()
    return {images.source.contents[position].digest for position in images.positions}

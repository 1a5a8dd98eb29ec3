"""Which files of a folder are images of which class: names and sizes only, nothing is decoded.

Two layouts: `train/<class>/...` next to `val/<class>/...`, or class folders alone.
"""

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from efficientformer.data.dataset import SkippedFile
from efficientformer.data.images import EXTENSIONS
from efficientformer.errors import DataError

VAL_NAMES = ("val", "validation", "valid", "test")

# Pictures in formats that are not read: they are reported, or half a phone's photos would vanish silently.
_FOREIGN_EXTENSIONS = frozenset({".heic", ".heif", ".avif", ".jxl", ".jp2"})


@dataclass(frozen=True)
class ListedImage:
    """`file` is relative to the listed folder, as the operating system spells it; `name` is for people and records:
    composed Unicode, forward slashes, no undecodable bytes."""

    file: str
    name: str
    class_name: str
    num_bytes: int


@dataclass(frozen=True)
class Layout:
    """The folder that holds the training classes, and the one that holds the validation classes, if there is one."""

    train: Path
    val: Path | None


@dataclass
class Listing:
    """Images in the class folders of `folder`, which is `root` or lies in it, sorted by class and name; `classes` also
    has the names of empty folders."""

    root: Path
    folder: Path
    classes: set[str] = field(default_factory=set)
    images: list[ListedImage] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)


def find_layout(root: Path) -> Layout:
    """Raises DataError when `root` is no folder, holds no folders, or has validation classes but no training ones."""
    if not root.exists():
        raise DataError(f"{root} does not exist. Give the folder that holds one folder of images per class.")
    if not root.is_dir():
        raise DataError(f"{root} is a file. Give the folder that holds one folder of images per class, unpacked.")
    folders = {folder.name.lower(): folder for folder in _visible_folders(root)}
    if not folders:
        raise DataError(
            f"{root} holds no class folders. Sort the images into {root.name}/<class>/, "
            f"or into {root.name}/train/<class>/ and {root.name}/val/<class>/."
        )
    # A folder called "train" full of pictures is a class of vehicles; with folders inside it is a split.
    splits = {name: folders[name] for name in ("train", *VAL_NAMES) if name in folders}
    train = splits.pop("train", None)
    if train is not None and _visible_folders(train):
        return Layout(train, next(iter(splits.values()), None))
    for folder in splits.values():
        if _visible_folders(folder):
            raise DataError(
                f"{root} has {folder.name}/ with class folders, but no train/ with class folders. "
                "Add it, or give the folder whose direct children are the classes."
            )
    return Layout(root, None)


def list_images(root: Path, folder: Path) -> Listing:
    """Every image in the class folders of `folder`, at any depth, named relative to `root`; hidden ones are ignored."""
    listing = Listing(root, folder)
    class_folders = _visible_folders(folder)
    if not class_folders:
        raise DataError(f"{folder} holds no class folders. Sort its images into {folder.name}/<class>/.")
    for entry in _visible_entries(folder):
        if _extension(entry.name) in EXTENSIONS and entry.is_file():
            listing.skipped.append(SkippedFile(_shown(root, entry.path), "not in a class folder"))
    for class_folder in class_folders:
        class_name = _display(class_folder.name)
        listing.classes.add(class_name)
        for entry in _walk(class_folder, ()):
            _list_entry(listing, class_name, entry)
    listing.images.sort(key=lambda image: (image.class_name, image.name, image.file))
    listing.skipped.sort(key=lambda skipped: skipped.file)
    return listing


def _list_entry(listing: Listing, class_name: str, entry: os.DirEntry[str]) -> None:
    extension = _extension(entry.name)
    name = _shown(listing.root, entry.path)
    if extension in _FOREIGN_EXTENSIONS:
        listing.skipped.append(SkippedFile(name, f"{extension} files are not read; convert it to JPEG or PNG"))
    elif extension in EXTENSIONS:
        if not entry.is_file():
            listing.skipped.append(SkippedFile(name, "a broken link, or not a regular file"))
            return
        file = Path(entry.path).relative_to(listing.root).as_posix()
        listing.images.append(ListedImage(file, name, class_name, entry.stat().st_size))


def listing_digest(listings: Iterable[Listing]) -> str:
    """SHA-256 over the names, sizes and classes of all that was listed."""
    digest = hashlib.sha256()
    for listing in listings:
        for image in listing.images:
            digest.update(f"{image.name}\0{image.num_bytes}\0{image.class_name}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _visible_entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            # macOS leaves a __MACOSX folder of hidden twins in its archives.
            return [entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}. Check its permissions.") from error


def _visible_folders(folder: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in _visible_entries(folder) if entry.is_dir())


def _walk(folder: Path | str, ancestors: tuple[tuple[int, int], ...]) -> Iterator[os.DirEntry[str]]:
    """Files below `folder`, following links except those that lead back up."""
    status = os.stat(folder)  # noqa: PTH116 - the path may be a plain string
    identity = (status.st_dev, status.st_ino)
    if identity in ancestors:
        return
    for entry in _visible_entries(folder):
        if entry.is_dir():
            yield from _walk(entry.path, (*ancestors, identity))
        else:
            yield entry


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - called for every file of large sets


def _shown(root: Path, path: str) -> str:
    return _display(Path(path).relative_to(root).as_posix())


def _display(name: str) -> str:
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", errors="replace"))

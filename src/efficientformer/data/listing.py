"""Which files are images of which class, by the folders that they are in: names only, nothing is decoded."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from efficientformer.data.dataset import SkippedFile
from efficientformer.data.walk import NOT_IN_A_CLASS, LeftOut, Walk, relative, shown
from efficientformer.errors import DataError
from efficientformer.formats.values import TaskName


@dataclass(frozen=True)
class ListedImage:
    """`file` is relative to the listed folder, as the operating system spells it; `name` is for people and records:
    composed Unicode, forward slashes. Of a folder an image has one class; of a list it may have several, or none."""

    file: str
    name: str
    class_names: tuple[str, ...]


@dataclass
class Listing:
    """Images in the class folders of `folder`, which is `root` or lies in it, sorted by class and name.

    empty: the classes without images, and why they have none.
    """

    root: Path
    folder: Path
    classes: set[str] = field(default_factory=set)
    images: list[ListedImage] = field(default_factory=list)
    empty: dict[str, str] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)

    def add_class(self, class_folder: Path, left_out: LeftOut, *, has_images: bool) -> str | None:
        """Add the class of a folder, and what was left out of it; returns its name, None for a folder that cannot be
        entered. Raises DataError if there is a class of that name."""
        self.left_out.add(left_out)
        if shown(self.root, str(class_folder)) in {skipped.file for skipped in left_out.skipped}:
            return None
        class_name = shown(self.folder, str(class_folder))
        if class_name in self.classes:
            raise DataError(
                f"{self.folder} holds two folders called '{class_name}', in different spellings of Unicode. Merge them "
                "or rename one."
            )
        self.classes.add(class_name)
        if not has_images:
            self.empty[class_name] = left_out.in_words()
        return class_name


@dataclass(frozen=True)
class ListedSet:
    """The images of a set by class, before any is decoded, from folders or from a list.

    val: None where a part of the training images is to be held out.
    layout: how the folders or the list were understood, in words.
    split_rule: where the validation images come from, in words.
    left_out: what is in neither listing.
    task: what the labels ask for.
    """

    name: str
    train: Listing
    val: Listing | None
    layout: str
    split_rule: str
    notes: tuple[str, ...] = ()
    left_out: LeftOut = field(default_factory=LeftOut)
    task: TaskName = "classification"

    @property
    def listings(self) -> list[Listing]:
        return [self.train] if self.val is None else [self.train, self.val]

    @property
    def num_images(self) -> int:
        return sum(len(listing.images) for listing in self.listings)


def list_images(root: Path, folder: Path) -> Listing:
    """Every image in the class folders of `folder`, at any depth, named relative to `root`.

    A class folder that cannot be entered is skipped and named. Raises DataError if there are no class folders, or if
    two have the same name.
    """
    listing, class_folders = begin_listing(root, folder)
    for class_folder in class_folders:
        _list_class(listing, class_folder)
    require_classes(listing, class_folders)
    listing.images.sort(key=lambda image: (image.class_names, image.name, image.file))
    listing.left_out.skipped.sort(key=lambda skipped: skipped.file)
    return listing


def begin_listing(root: Path, folder: Path) -> tuple[Listing, list[Path]]:
    """A listing without classes, and the class folders that it is to have."""
    listing = Listing(root, folder)
    class_folders, loose = Walk(root, listing.left_out).top(folder)
    listing.left_out.skipped += [SkippedFile(shown(root, path), NOT_IN_A_CLASS) for path in loose]
    return listing, class_folders


def require_classes(listing: Listing, class_folders: list[Path]) -> None:
    """Raises DataError for a listing without classes."""
    if not listing.classes:
        why = f" {listing.left_out.in_words()}." if class_folders else ""
        folder = listing.folder
        raise DataError(f"{folder} holds no class folders. Sort its images into {folder.name}/<class>/.{why}")


def _list_class(listing: Listing, class_folder: Path) -> None:
    walk = Walk(listing.root)
    paths = list(walk.pictures(class_folder))
    class_name = listing.add_class(class_folder, walk.left_out, has_images=bool(paths))
    if class_name is None:
        return
    for path in paths:
        file = relative(listing.root, path)
        listing.images.append(ListedImage(file, shown(listing.root, path), (class_name,)))


def check_classes(listings: list[Listing], task: TaskName) -> None:
    """Raises DataError for classes that cannot be learned: only one, one without images, one of a single split."""
    train = listings[0]
    if len(train.classes) < 2 and task == "classification":
        (only,) = train.classes
        raise DataError(
            f"Only one class in {train.folder}: '{only}'. A classifier needs at least two; "
            "each needs its own folder directly below the one you give."
        )
    for listing in listings:
        if len(listing.empty) == len(listing.classes):
            why = "; ".join(f"'{name}': {reason}" for name, reason in sorted(listing.empty.items())[:3])
            raise DataError(f"No images in the class folders of {listing.folder} ({why}).")
        for name, reason in sorted(listing.empty.items()):
            more = f" {len(listing.empty) - 1} more classes have none either." if len(listing.empty) > 1 else ""
            raise DataError(
                f"No images of class '{name}' in {listing.folder}: {reason}. Add some or remove the folder.{more}"
            )
    for listing in listings[1:]:
        absent, unknown = train.classes - listing.classes, listing.classes - train.classes
        if task == "multi_label":  # the classes without validation images are named, and are not scored
            absent = set[str]()
        if absent or unknown:
            raise DataError(
                f"The validation classes in {listing.folder} differ from the training classes."
                + (f" Only in training: {named(absent)}." if absent else "")
                + (f" Only in validation: {named(unknown)}." if unknown else "")
                + " Both need the same classes."
            )


def named(classes: Iterable[str], limit: int = 5) -> str:
    """Names of classes for a message, the first ones if they are many."""
    names = [f"'{name}'" for name in sorted(classes)]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more

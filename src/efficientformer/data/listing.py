"""Which files are images of which class, by the folders that they are in: names only, nothing is decoded."""

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


def list_images(root: Path, folder: Path) -> Listing:
    """Every image in the class folders of `folder`, at any depth, named relative to `root`.

    A class folder that cannot be entered is skipped and named. Raises DataError if there are no class folders, or if
    two have the same name.
    """
    listing = Listing(root, folder)
    walk = Walk(root, listing.left_out)
    class_folders, loose = walk.top(folder)
    listing.left_out.skipped += [SkippedFile(shown(root, path), NOT_IN_A_CLASS) for path in loose]
    for class_folder in class_folders:
        _list_class(listing, class_folder)
    if not listing.classes:
        why = f" {listing.left_out.in_words()}." if class_folders else ""
        raise DataError(f"{folder} holds no class folders. Sort its images into {folder.name}/<class>/.{why}")
    listing.images.sort(key=lambda image: (image.class_names, image.name, image.file))
    listing.left_out.skipped.sort(key=lambda skipped: skipped.file)
    return listing


def _list_class(listing: Listing, class_folder: Path) -> None:
    class_name = shown(listing.folder, str(class_folder))
    walk = Walk(listing.root)
    paths = list(walk.pictures(class_folder))
    listing.left_out.add(walk.left_out)
    if shown(listing.root, str(class_folder)) in {skipped.file for skipped in walk.left_out.skipped}:
        return
    if class_name in listing.classes:
        raise DataError(
            f"{listing.folder} holds two folders called '{class_name}', in different spellings of Unicode. Merge them "
            "or rename one."
        )
    listing.classes.add(class_name)
    for path in paths:
        file = relative(listing.root, path)
        listing.images.append(ListedImage(file, shown(listing.root, path), (class_name,)))
    if not paths:
        listing.empty[class_name] = walk.left_out.in_words()

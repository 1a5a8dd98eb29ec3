"""Which pictures are images and which are their masks, by the names of folders. Nothing is decoded. No torch.

`images/` next to `annotations/` or `masks/`, each with a folder for each split (`training`, `validation`, by the names
that image folders know) or with the pictures themselves; beside them the file that lists the classes.
"""

from dataclasses import dataclass
from pathlib import Path, PurePath

from efficientformer.data.layout import Role, role_of
from efficientformer.data.masks.class_list import find_class_list
from efficientformer.data.walk import LeftOut, Walk, find_images, relative, shown
from efficientformer.errors import DataError

_OF_IMAGES, _OF_MASKS = "images", ("annotations", "masks")
_ENDINGS = ("", "_L", "_mask", "_labels", "_label")
"""What the name of a mask may have behind the name of its image."""
_DEEPEST = 3
SHOWN = "images/, annotations/ or masks/, and classes.txt"


@dataclass(frozen=True)
class MaskPair:
    """An image and its mask, relative to the root; mask is None for an image without one. others: further files that
    would be its mask just as well."""

    image: str
    name: str
    mask: str | None
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class MaskFolders:
    """The images of a set with their masks, by split. Without validation images `val` is None.

    starts_at_one: whether classes that are listed without values are numbered from 1, as in ADE20K.
    """

    root: Path
    class_list: Path
    starts_at_one: bool
    train: list[MaskPair]
    val: list[MaskPair] | None
    text: str
    split_rule: str
    notes: tuple[str, ...]
    left_out: LeftOut


def is_mask_folder(path: Path) -> bool:
    """Whether a folder holds images, masks and a list of classes, by names alone."""
    root = _root(path)
    return root is not None and find_class_list(root) is not None


def find_mask_folders(path: Path) -> MaskFolders:
    """Raises DataError when a path is no such folder, or when images and masks are not split alike."""
    root = _root(path)
    if root is None:
        raise DataError(f"{path} holds no images with masks. It needs {SHOWN}.{_without_masks(path)}")
    class_list = find_class_list(root)
    if class_list is None:
        raise DataError(f"{root} has no list of classes. Write classes.txt, with a line 'VALUE NAME' for each class.")
    images, masks = _child(root, (_OF_IMAGES,)), _child(root, _OF_MASKS)
    assert images is not None and masks is not None
    left_out, notes = LeftOut(), list[str]()
    splits = _splits(images, left_out)
    train_name = splits.get("train", "")
    val_name = splits.get("val", splits.get("test"))
    if "val" in splits and "test" in splits:
        notes.append(f"{_OF_IMAGES}/{splits['test']}/: not used, since there are validation images")
    train = _pairs(root, images / train_name, masks / train_name, left_out, notes)
    val = None if val_name is None else _pairs(root, images / val_name, masks / val_name, left_out, notes)
    where = "no folder of validation images" if val_name is None else f"validation images in {_OF_IMAGES}/{val_name}/"
    rule = "" if val_name is None else f"the folders {_OF_IMAGES}/{train_name} and {_OF_IMAGES}/{val_name}"
    text = f"images with masks: training images in {_OF_IMAGES}/{train_name}, masks in {masks.name}/, {where}"
    starts_at_one = masks.name.lower() == "annotations"
    return MaskFolders(root, class_list, starts_at_one, train, val, text, rule, tuple(notes), left_out)


def _root(path: Path) -> Path | None:
    """The folder that holds those of images and masks: the path, or the only folder in it."""
    for _ in range(_DEEPEST):
        try:
            if not path.is_dir():
                return None
            masks = _child(path, _OF_MASKS)
            if masks is not None and _child(path, (_OF_IMAGES,)) is not None and Walk(path).holds_pictures(masks):
                return path
            folders = [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]
        except OSError:
            return None
        if len(folders) != 1:
            return None
        (path,) = folders
    return None


def _without_masks(path: Path) -> str:
    """What is known of a folder that has all but the masks."""
    empty = _child(path, _OF_MASKS) if path.is_dir() and _child(path, (_OF_IMAGES,)) is not None else None
    return "" if empty is None else f" Its {empty.name}/ has no pictures."


def _child(folder: Path, names: tuple[str, ...]) -> Path | None:
    found = sorted(child for child in folder.iterdir() if child.name.lower() in names and child.is_dir())
    return found[0] if found else None


def _splits(images: Path, left_out: LeftOut) -> dict[Role, str]:
    """The folder of each split; none where the images lie in their folder itself. Raises DataError."""
    folders, loose = Walk(images, left_out).top(images)
    splits: dict[Role, str] = {}
    for folder in folders:
        role = role_of(folder.name)
        if role is not None and role in splits:
            raise DataError(f"'{splits[role]}' and '{folder.name}' in {images} are of the same split. Merge them.")
        if role is not None:
            splits[role] = folder.name
    if not splits or loose:
        return {}
    if "train" not in splits:
        raise DataError(f"{images} has no folder of training images. Call it training.")
    return splits


def _pairs(root: Path, images: Path, masks: Path, left_out: LeftOut, notes: list[str]) -> list[MaskPair]:
    """Every image below a folder and its mask, which has the same name in the folder of the masks."""
    if not masks.is_dir():
        raise DataError(f"{masks} does not exist, so the images in {images} have no masks. Put them there.")
    found, of_masks = find_images(images), find_images(masks)
    left_out.add(found.left_out)
    by_stem: dict[str, list[str]] = {}
    for path in of_masks.files:
        by_stem.setdefault(_stem(masks, path), []).append(relative(root, str(path)))
    pairs, used = list[MaskPair](), set[str]()
    for path in found.files:
        stem = _stem(images, path)
        key = next((stem + ending for ending in _ENDINGS if stem + ending in by_stem), None)
        mask, *others = [None] if key is None else by_stem[key]
        pairs.append(MaskPair(relative(root, str(path)), shown(root, str(path)), mask, tuple(filter(None, others))))
        used.add(key or "")
    if not pairs:
        raise DataError(f"{images} holds no images ({found.left_out.in_words()}).")
    if alone := sorted(set(by_stem) - used):
        notes.append(f"{len(alone):,} masks in {shown(root, str(masks))}/ have no image ({alone[0]}, ...)")
    return pairs


def _stem(folder: Path, path: Path) -> str:
    return PurePath(relative(folder, str(path))).with_suffix("").as_posix()

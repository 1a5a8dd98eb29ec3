"""YOLO folders: images, and next to them a text file each with a line per object: class, center, width and height as
shares of the image's, or class and the points of a polygon. Names of classes are in `data.yaml` or `classes.txt`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efficientformer.data.boxes.objects import Instance, area_of
from efficientformer.data.boxes.problems import Problems
from efficientformer.data.boxes.segmentation import inside
from efficientformer.errors import DataError, RecordError
from efficientformer.reading import read_text, read_yaml, shown_path

YAML_NAMES, LIST_NAMES = ("data.yaml", "data.yml", "dataset.yaml"), ("classes.txt", "labels/classes.txt")
IMAGES, LABELS = "images", "labels"
BOX_NUMBERS, FEWEST_POLYGON_NUMBERS = 4, 6
ROUNDED = 1e-3
"""Share of the image's side by which a number may lie outside 0 to 1: tools round."""


@dataclass(frozen=True)
class YoloFolders:
    """Class names, and the folders with the images of each split, relative to the root; val may be empty."""

    classes: tuple[str, ...]
    train: tuple[Path, ...]
    val: tuple[Path, ...]
    text: str


def has_yolo(root: Path) -> bool:
    """Whether there are names of classes, with `images/` and `labels/` where no YAML file says where they are."""
    has_folders = (root / IMAGES).is_dir() and (root / LABELS).is_dir()
    return _is_file(root, YAML_NAMES) or (has_folders and _is_file(root, LIST_NAMES))


def find_yolo(root: Path) -> YoloFolders | None:
    """What `data.yaml` says, or `classes.txt` with `images/` and `labels/`; None where there is neither.

    Raises DataError for a file that says nothing usable.
    """
    if not has_yolo(root):
        return None
    names = YAML_NAMES if _is_file(root, YAML_NAMES) else LIST_NAMES
    name = next(name for name in names if (root / name).is_file())
    return _of_yaml(root, name) if names is YAML_NAMES else _of_list(root, name)


def _is_file(root: Path, names: Sequence[str]) -> bool:
    return any((root / name).is_file() for name in names)


def _of_list(root: Path, name: str) -> YoloFolders:
    path = root / name
    try:
        lines = read_text(path, remedy="").removeprefix("\ufeff").splitlines()
    except RecordError as error:
        raise DataError(str(error).rstrip()) from error
    while lines and not lines[-1].strip():
        lines.pop()
    classes = _names(lines, shown_path(path))
    images = root / IMAGES
    splits = {part: images / part for part in ("train", "val") if (images / part).is_dir()}
    if "train" in splits:
        val = (splits["val"],) if "val" in splits else ()
        return YoloFolders(classes, (splits["train"],), val, f"YOLO folders with {name}")
    return YoloFolders(classes, (images,), (), f"YOLO folders with {name}")


def _of_yaml(root: Path, name: str) -> YoloFolders:
    path = root / name
    shown = shown_path(path)
    try:
        content = read_yaml(path)
    except RecordError as error:
        raise DataError(str(error)) from error
    if not isinstance(content, dict) or "names" not in content or "train" not in content:
        raise DataError(f"{shown} must have names, train and perhaps val. Write them as YOLO tools do.")
    classes = _names(content["names"], shown)
    if "nc" in content and content["nc"] != len(classes):
        raise DataError(f"{shown}: nc is {content['nc']}, but there are {len(classes)} names. Correct one of them.")
    train = _folders(root, content.get("path"), content["train"], f"{shown}, train")
    given = content.get("val", content.get("valid"))
    val = _folders(root, content.get("path"), given, f"{shown}, val") if given else ()
    return YoloFolders(classes, train, val, f"YOLO folders with {name}")


def _names(given: Any, place: str) -> tuple[str, ...]:
    """Names of classes from a list or from an object with the numbers 0, 1, 2, ..."""
    if isinstance(given, dict):
        if set(given) != set(range(len(given))):
            raise DataError(f"{place}: names must be numbered 0, 1, 2, ... without gaps.")
        given = [given[number] for number in range(len(given))]
    if not isinstance(given, list) or not given:
        raise DataError(f"{place}: there are no names of classes. Give one for each number that labels begin with.")
    names = tuple(str(name).strip() if isinstance(name, str | int) else "" for name in given)
    for number, name in enumerate(names):
        if not name or not name.isprintable():
            raise DataError(f"{place}: class {number} has no name that can be used. Give each class a name.")
        if name in names[:number]:
            raise DataError(f"{place}: the name '{name}' is given twice. Give each class a name of its own.")
    return names


def _folders(root: Path, base: Any, given: Any, place: str) -> tuple[Path, ...]:
    """The folders of a split. They are looked up where the file says, and in the file's own folder: sets are moved."""
    folders = []
    for entry in given if isinstance(given, list) else [given]:
        if not isinstance(entry, str) or not entry.strip():
            raise DataError(f"{place}: it must be a folder of images or a list of folders.")
        places = [root / str(base or ".") / entry, root / entry, root / entry.removeprefix("../")]
        found = next((folder for folder in places if folder.is_dir() and _is_below(root, folder)), None)
        if found is None:
            raise DataError(
                f"{place}: there is no folder {shown_path(entry)} in {shown_path(root)}. Give a folder of images in it."
            )
        folders.append(found.resolve().relative_to(root.resolve()))
    return tuple(root / folder for folder in folders)


def _is_below(root: Path, folder: Path) -> bool:
    return folder.resolve().is_relative_to(root.resolve())


def label_file(root: Path, image: Path) -> Path:
    """The text file of an image: with `labels` in place of the last folder called `images`, or next to the image."""
    parts = list(image.relative_to(root).with_suffix(".txt").parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == IMAGES:
            parts[index] = LABELS
            break
    return root.joinpath(*parts)


def read_labels(
    path: Path, classes: Sequence[str], size: tuple[int, int], problems: Problems, *, needs_masks: bool = False
) -> tuple[tuple[Instance, ...], int]:
    """The objects of an image of this width and height, and the number of boxes that were cut at its border. An image
    without a file has none. What is wrong with a line goes to `problems`; with `needs_masks` that is a box, too."""
    name, instances, num_cut = shown_path(path), list[Instance](), 0
    if not path.exists():
        return (), 0
    try:
        lines = read_text(path, remedy="").removeprefix("\ufeff").splitlines()
    except RecordError as error:
        problems.add(name, str(error).rstrip(" ."))
        return (), 0
    seen: dict[tuple[float, ...], int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = _values(line)
            if values in seen:
                raise ValueError(f"it repeats line {seen[values]}; remove one of them")
            instance, is_cut = _instance(values, classes, size)
            if needs_masks and instance.segmentation is None:
                raise ValueError("it is a box, and --task instance needs polygons; give one, or use --task detection")
        except ValueError as error:
            problems.add(f"{name}, line {number}", str(error))
            continue
        seen[values] = number
        num_cut += is_cut
        instances.append(instance)
    return tuple(instances), num_cut


def _values(line: str) -> tuple[float, ...]:
    try:
        values = tuple(map(float, line.split()))
    except ValueError:
        values = (math.nan,)
    if not all(map(math.isfinite, values)):
        raise ValueError("it must be numbers: class, center x, center y, width, height; correct it")
    return values


def _instance(values: tuple[float, ...], classes: Sequence[str], size: tuple[int, int]) -> tuple[Instance, bool]:
    """Raises ValueError that names the field, what is wrong with it, and the remedy."""
    number, numbers = values[0], values[1:]
    if number != int(number) or not 0 <= number < len(classes):
        raise ValueError(f"class {number:g} is unknown: the {len(classes)} classes have the numbers from 0 on")
    if outside := [value for value in numbers if not -ROUNDED <= value <= 1 + ROUNDED]:
        raise ValueError(f"{outside[0]:g} is no share of the image's side, from 0 to 1; divide pixels by the side")
    width, height = size
    if len(numbers) == BOX_NUMBERS:
        x, y, wide, high = numbers
        box, segmentation, field = (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2), None, "the box"
    elif len(numbers) >= FEWEST_POLYGON_NUMBERS and len(numbers) % 2 == 0:
        xs, ys = numbers[::2], numbers[1::2]
        box, field = (min(xs), min(ys), max(xs), max(ys)), "the polygon"
        segmentation = [
            [value * side for x, y in zip(xs, ys, strict=True) for value, side in ((x, width), (y, height))]
        ]
    else:
        raise ValueError(
            f"it has {len(numbers)} numbers behind the class, not the 4 of a box or a polygon of 3 points or more; "
            "correct it"
        )
    x1, y1, x2, y2 = box
    pixels, is_cut = inside((x1 * width, y1 * height, x2 * width, y2 * height), size, field)
    return Instance(int(number), pixels, False, area_of(pixels), segmentation), is_cut

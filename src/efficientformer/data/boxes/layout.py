"""Which files hold the boxes of which images: COCO JSON by the names of its files, or YOLO folders."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from efficientformer.data.boxes.yolo import YoloFolders, find_yolo, has_yolo
from efficientformer.data.layout import Role, role_of
from efficientformer.data.walk import Walk, shown
from efficientformer.errors import DataError
from efficientformer.reading import shown_path

ANNOTATIONS, IMAGES = "annotations", "images"
INSTANCES = "instances"
"""The official folder has files of captions and of keypoints as well, with the same images."""
NUM_LOOKED_FOR = 20
WHAT_IS_READ = "COCO JSON (such as annotations/instances_train.json) or YOLO folders (data.yaml, images/ and labels/)"


@dataclass(frozen=True)
class CocoPart:
    """A file of annotations of one split; the role is None where no name says it."""

    path: Path
    role: Role | None


@dataclass(frozen=True)
class CocoLayout:
    """The folder that holds everything, and the files of annotations; val is None where a part is to be held out."""

    root: Path
    train: CocoPart
    val: CocoPart | None
    notes: tuple[str, ...]


def holds_boxes(path: Path) -> bool:
    """Whether there are annotations of boxes, by the names of files and, of JSON, by the names in it."""
    if path.is_file():
        return path.suffix.lower() == ".json" and _looks_like_coco(path)
    try:
        return path.is_dir() and bool(_coco_parts(path) or has_yolo(path))
    except DataError:  # it cannot be entered, which reading it says
        return False


def find_boxes(given: Path) -> CocoLayout | tuple[Path, YoloFolders]:
    """Annotations of a folder, or those of one COCO file. Raises DataError where there are none, or which is not
    certain."""
    if given.is_file():
        root = given.parent.parent if given.parent.name == ANNOTATIONS else given.parent
        return CocoLayout(root, CocoPart(given, role_of(given.stem)), None, ())
    if not given.is_dir():
        raise DataError(f"{shown_path(given)} does not exist. Give a folder with {WHAT_IS_READ}.")
    parts = _coco_parts(given)
    if parts:
        return _chosen(given, parts)
    if (folders := find_yolo(given)) is not None:
        return given, folders
    raise DataError(f"{shown_path(given)} has no boxes that can be read. Give a folder with {WHAT_IS_READ}.")


def _coco_parts(root: Path) -> list[CocoPart]:
    folders, _ = Walk(root).top(root)
    inner = [folder for folder in folders if folder.name == ANNOTATIONS or role_of(folder.name) is not None]
    paths = [path for folder in (root, *inner) for path in sorted(folder.glob("*.json")) if _looks_like_coco(path)]
    return [
        CocoPart(path, role_of(path.stem) or (role_of(path.parent.name) if path.parent != root else None))
        for path in paths
    ]


def _looks_like_coco(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return all(f'"{name}"'.encode() in content for name in ("images", ANNOTATIONS, "categories"))


def _chosen(root: Path, parts: Sequence[CocoPart]) -> CocoLayout:
    if len(parts) == 1:
        return CocoLayout(root, parts[0], None, ())
    of_role: dict[Role, CocoPart] = {}
    for role in ("train", "val", "test"):
        of_this = [part for part in parts if part.role == role]
        preferred = [part for part in of_this if INSTANCES in part.path.stem] or of_this
        if len(preferred) > 1:
            names = ", ".join(shown(root, str(part.path)) for part in preferred[:3])
            raise DataError(f"{names} in {shown_path(root)} look like {role} annotations each. Move all but one away.")
        if preferred:
            of_role[role] = preferred[0]
    if "train" not in of_role:
        names = ", ".join(shown(root, str(part.path)) for part in parts[:3])
        raise DataError(
            f"None of {names} in {shown_path(root)} is named after training images. Call one instances_train.json, or "
            "give the one file to use."
        )
    val = of_role.get("val") or of_role.get("test")
    used = [of_role["train"], val]
    left = [shown(root, str(part.path)) for part in parts if part not in used]
    return CocoLayout(root, of_role["train"], val, (f"{', '.join(left[:5])}: not used",) if left else ())


def images_folder(root: Path, part: CocoPart, files: Sequence[str]) -> Path:
    """The folder that file names of a COCO file are relative to: of those that it may be, the one with most of the
    files."""
    around = [part.path.parent, root, root / IMAGES]
    named = [
        folder
        for parent in (root, root / IMAGES)
        if parent.is_dir()
        for folder in Walk(root).top(parent)[0]
        if part.role is not None and role_of(folder.name) == part.role and folder.name != ANNOTATIONS
    ]
    inner = [folder / IMAGES for folder in named if (folder / IMAGES).is_dir()]
    candidates = list(dict.fromkeys([*named, *inner, *(folder for folder in around if folder.is_dir())]))
    step = max(1, len(files) // NUM_LOOKED_FOR)
    counts = [sum((folder / file).is_file() for file in files[::step]) for folder in candidates]
    if not any(counts):
        places = ", ".join(shown_path(folder) for folder in candidates)
        raise DataError(
            f"{shown_path(part.path)}: image {json.dumps(files[0])} and the other images are in none of {places}. Put "
            f"them into {shown_path(root / IMAGES)}."
        )
    return candidates[counts.index(max(counts))]

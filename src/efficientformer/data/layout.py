"""Which folders hold training images, which validation images: by their names, and only where nothing else fits.

`train/<class>/...` next to `val/<class>/...`, by the many names that people give them, or class folders alone; either
may lie in a folder that holds nothing else. Whatever could be read in two ways is refused, with what was seen.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from stat import S_ISDIR
from typing import Literal

from efficientformer.data.dataset import SkippedFile
from efficientformer.data.walk import NOT_IN_A_CLASS, LeftOut, Walk, reason_of, shown
from efficientformer.errors import DataError

Role = Literal["train", "val", "test"]

_WORDS: dict[Role, frozenset[str]] = {
    "train": frozenset({"train", "training", "trainset", "trainingset", "trainval", "trn"}),
    "val": frozenset({"val", "valid", "validation", "valset", "validset", "validationset", "dev", "devset"}),
    "test": frozenset({"test", "testing", "testset", "testingset", "eval", "evaluation", "evalset", "holdout"}),
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_DEEPEST = 4


@dataclass(frozen=True)
class Layout:
    """The folder that holds the training classes, and the one that holds the validation classes, if there is one.

    text: what was understood.
    notes: folders that were left out, a line for each reason.
    left_out: what lies in the folders around those two and was left out.
    """

    train: Path
    val: Path | None
    text: str
    notes: tuple[str, ...] = ()
    left_out: LeftOut = field(default_factory=LeftOut)


def role_of(name: str) -> Role | None:
    """The split that a folder is named after, in a whole word: Training, my-train, val2017; None for other names."""
    words = {word.lower() for word in _WORD.findall(name)}
    roles: list[Role] = [role for role, known in _WORDS.items() if words & known]
    return "train" if set(roles) == {"train", "val"} else roles[0] if len(roles) == 1 else None


def find_layout(root: Path) -> Layout:
    """Raises DataError when `root` is no folder, holds no class folders, or could be understood in several ways."""
    _require_folder(root)
    folder, notes, left_out = root, list[str](), LeftOut()
    for _ in range(_DEEPEST):
        walk = Walk(root)
        folders, loose = walk.top(folder)
        children = [_Folder(root, path) for path in folders]
        splits = _Splits(root, folder, children)
        splits.refuse_unlabeled()
        inner = None if splits.nested else _only(children)
        if children and inner is None and (not splits.nested or splits.are_classes):
            return _of_classes(splits, notes, left_out)
        left_out.add(walk.left_out)
        left_out.skipped += [SkippedFile(shown(root, path), NOT_IN_A_CLASS) for path in loose]
        if splits.nested:
            return splits.layout(notes, left_out)
        if inner is None:
            break
        notes += _left_out(root, [child for child in children if child is not inner], "no images in it")
        folder = inner.path
    raise DataError(
        f"{folder} holds no class folders{_but(left_out)}. Sort the images into {root.name}/<class>/, "
        f"or into {root.name}/train/<class>/ and {root.name}/val/<class>/."
    )


def _require_folder(root: Path) -> None:
    try:
        is_folder = S_ISDIR(root.stat().st_mode)
    except (FileNotFoundError, ValueError) as error:
        raise DataError(f"{root} does not exist. Give the folder that holds one folder of images per class.") from error
    except OSError as error:
        raise DataError(f"{root} cannot be opened: {reason_of(error)}.") from error
    if not is_folder:
        raise DataError(f"{root} is a file. Give the folder that holds one folder of images per class, unpacked.")


def _but(left_out: LeftOut) -> str:
    return "" if left_out.is_empty else f" ({left_out.in_words()})"


@dataclass(frozen=True, eq=False)
class _Folder:
    """What a layout needs to know about a folder, looked up when it is needed."""

    root: Path
    path: Path

    @property
    def name(self) -> str:
        return shown(self.path.parent, str(self.path))

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{shown(self.root, str(self.path))}/"

    @cached_property
    def has_pictures(self) -> bool:
        """Directly."""
        return Walk(self.root).has_pictures(self.path)

    @cached_property
    def holds_pictures(self) -> bool:
        """At any depth."""
        return self.has_pictures or Walk(self.root).holds_pictures(self.path)

    @cached_property
    def is_empty(self) -> bool:
        walk = Walk(self.root)
        return not any(True for _ in walk.pictures(self.path)) and walk.left_out.is_empty

    @cached_property
    def children(self) -> list["_Folder"]:
        try:
            return [_Folder(self.root, path) for path in Walk(self.root).top(self.path)[0]]
        except DataError:  # it cannot be entered
            return []

    @cached_property
    def is_nested(self) -> bool:
        """Whether there are folders with pictures in it."""
        return any(child.holds_pictures for child in self.children)

    @cached_property
    def has_splits(self) -> bool:
        """Whether class folders for training are in it, so that pictures next to them are no class."""
        return any(role_of(child.name) == "train" and child.is_nested for child in self.children)

    @property
    def class_names(self) -> set[str]:
        """Names of the classes, if it is a split."""
        return {child.name for child in _unwrapped(self).children}


def _only(children: Sequence[_Folder]) -> _Folder | None:
    """The child that everything lies in, below further folders: such as an archive's."""
    holding = [child for child in children if child.holds_pictures]
    if len(holding) != 1 or (holding[0].has_pictures and not holding[0].has_splits):
        return None
    # An empty folder beside it is a class without images rather than something else.
    return None if any(child.is_empty for child in children) else holding[0]


def _unwrapped(folder: _Folder) -> _Folder:
    for _ in range(_DEEPEST):
        inner = None if folder.has_pictures else _only(folder.children)
        if inner is None:
            break
        folder = inner
    return folder


@dataclass(frozen=True)
class _Splits:
    """The children of a folder as splits: `nested` have class folders, `flat` have images of their own alone."""

    root: Path
    folder: Path
    children: Sequence[_Folder]

    @cached_property
    def with_pictures(self) -> list[_Folder]:
        return [child for child in self.children if child.holds_pictures]

    @cached_property
    def named(self) -> list[_Folder]:
        return [child for child in self.with_pictures if role_of(child.name) is not None]

    @cached_property
    def nested(self) -> list[_Folder]:
        return [child for child in self.named if child.is_nested]

    @cached_property
    def flat(self) -> list[_Folder]:
        return [child for child in self.named if not child.is_nested]

    @cached_property
    def others(self) -> list[_Folder]:
        return [child for child in self.with_pictures if role_of(child.name) is None]

    def refuse_unlabeled(self) -> None:
        if self.flat and len(self.flat) == len(self.with_pictures):
            call_it = next((child.name for child in self.flat if role_of(child.name) == "train"), self.flat[0].name)
            raise DataError(
                f"{_names(self.flat)} in {self.folder} hold images, but no class folders, so their labels are not "
                f"known. Sort the images into {call_it}/<class>/."
            )

    @cached_property
    def are_classes(self) -> bool:
        """Whether a class is called like a split and has pictures of its own, as the other classes have."""
        return (
            all(child.has_pictures for child in self.nested)
            and any(child.has_pictures for child in self.others)
            and not (self._of("train") and (self._of("val") or self._of("test")))
        )

    def _of(self, role: Role) -> list[_Folder]:
        return [child for child in self.nested if role_of(child.name) == role]

    def _one(self, folders: list[_Folder], what: str) -> _Folder | None:
        if len(folders) > 1:
            raise DataError(
                f"{_names(folders)} in {self.folder} look like {what} images each. Merge them, or move all but one "
                "away."
            )
        return folders[0] if folders else None

    def layout(self, notes: list[str], left_out: LeftOut) -> Layout:
        """Raises DataError for what could be understood in several ways."""
        train = self._one(self._of("train"), "training")
        if train is None:
            raise DataError(
                f"{_names(self.nested)} in {self.folder} look like validation or test images with class folders, but "
                "there is no folder of training images. Call it train, or give the folder whose direct children are "
                "the classes."
            )
        # Test images in one folder whose name is no class have no labels.
        tests = [test for test in self._of("test") if test.class_names & train.class_names]
        unlabeled = [child for child in [*self._of("test"), *self.flat] if child not in tests]
        val = self._one(self._of("val"), "validation")
        notes += _left_out(self.root, tests if val else [], "not used, since there are validation images")
        val = val or self._one(tests, "test")
        self._refuse_flat_val(val, unlabeled)
        is_certain = val is not None and bool(val.class_names & train.class_names)
        if self.others and not is_certain:
            raise DataError(
                f"'{train.name}' in {self.folder} looks like training images, with folders inside, but there are other "
                f"folders of images next to it: {_names(self.others)}. If it holds the classes, give {train.path} or "
                f"move the others away; if it is a class itself, rename it or move its images up."
            )
        notes += _left_out(self.root, unlabeled, "not used, since it has no class folders and so no labels")
        notes += _left_out(self.root, self.others, "not used, since it is not named like a split")
        without = [child for child in self.children if child not in self.with_pictures]
        notes += _left_out(self.root, without, "no images in it")
        train, val = _unwrapped(train), _unwrapped(val) if val else None
        where = f"validation images in {val.place}" if val else "no folder of validation images"
        text = f"training images in {train.place}, {where}"
        return Layout(train.path, val.path if val else None, text, tuple(notes), left_out)

    def _refuse_flat_val(self, val: _Folder | None, unlabeled: list[_Folder]) -> None:
        for child in unlabeled:
            if role_of(child.name) == "val" and val is None:
                raise DataError(
                    f"{child.path} has no class folders, so its labels are not known. Sort its images into "
                    f"{child.name}/<class>/, or move it away to have a part of the training images held out."
                )


def _of_classes(splits: _Splits, notes: list[str], left_out: LeftOut) -> Layout:
    folder = splits.folder
    _refuse_shared_names(folder, splits.with_pictures)
    where = "" if folder == splits.root else f" in {shown(splits.root, str(folder))}/"
    odd = f"; {_names(splits.named)} taken for classes, since they hold images of their own" if splits.named else ""
    return Layout(folder, None, f"one folder for each class{where}{odd}", tuple(notes), left_out)


def _refuse_shared_names(folder: Path, classes: list[_Folder]) -> None:
    """Folders without images of their own whose children have the same names are no classes, but splits or parts."""
    nested = [child for child in classes if not child.has_pictures]
    inner = Counter(grandchild.name for child in nested for grandchild in child.children if grandchild.holds_pictures)
    shared = sorted(name for name, count in inner.items() if count > 1)
    if shared and len(nested) == len(classes):
        raise DataError(
            f"The folders in {folder} hold no images of their own: {_names(nested)}. The folders inside have the same "
            f"names: {_quoted(shared)}. Which are the classes? If the inner ones: merge the outer ones, or call them "
            "train and val. If the outer ones: move their images up."
        )
    names = {child.name for child in classes}
    for child in nested:
        repeated = names & {grandchild.name for grandchild in child.children}
        if repeated:
            raise DataError(
                f"'{child.name}' in {folder} holds folders that have the names of those next to it: "
                f"{_quoted(sorted(repeated))}. A copy? Move '{child.name}' away, or merge them."
            )


def _left_out(root: Path, folders: Iterable[_Folder], why: str) -> list[str]:
    places = [folder.place for folder in folders]
    if not places:
        return []
    return [f"{', '.join(places[:5])}{f' and {len(places) - 5} more' if len(places) > 5 else ''}: {why}"]


def _names(folders: Iterable[_Folder]) -> str:
    return _quoted([folder.name for folder in folders])


def _quoted(names: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(f"'{name}'" for name in names[:limit]) + more

"""Which tar files hold training images, which validation images: by their names, or those of their folders."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from efficientformer.data.layout import Role, role_of
from efficientformer.data.walk import Walk, composed
from efficientformer.errors import DataError
from efficientformer.reading import shown_path

_TAR = re.compile(r".+\.(tar|tgz|tar\.\w{2,3})", re.IGNORECASE)
_NUMBERED = re.compile(r"(.*?)(\d+)\.tar")
_SHOWN = 5


@dataclass(frozen=True)
class ShardLayout:
    """Shards of `root`, sorted by name. val: empty where a part of the training images is to be held out.

    text: what was understood. notes: what was left out or looks incomplete, a line each.
    """

    root: Path
    name: str
    train: list[str]
    val: list[str]
    text: str
    notes: tuple[str, ...]


def is_shard_set(path: Path) -> bool:
    """Whether a path is a tar file, or a folder with tar files and without folders of pictures."""
    if path.is_file():
        return _TAR.fullmatch(path.name) is not None
    if not path.is_dir() or not _tar_files(path):
        return False
    return not any(Walk(path).holds_pictures(folder) for folder in Walk(path).top(path)[0])


def find_shards(path: Path) -> ShardLayout:
    """Raises DataError for shards of which it is not certain what they hold."""
    if path.is_file():
        return ShardLayout(path.parent, path.name.partition(".")[0], [path.name], [], "one shard", ())
    by_role: dict[Role | None, list[str]] = {}
    for file in _tar_files(path):
        by_role.setdefault(_role(file), []).append(file)
    train, notes = by_role.get("train", []), []
    if None in by_role:
        if len(by_role) > 1:
            raise DataError(
                f"{shown_path(path)} has shards of named splits, and {_named(by_role[None])}, which could be of any. "
                "Call them train-... or val-..., or move them away."
            )
        train = by_role[None]
    if not train:
        raise DataError(
            f"{shown_path(path)} has {_named(next(iter(by_role.values())))} and no training images. Call shards of "
            "those train-..."
        )
    val, test = by_role.get("val", []), by_role.get("test", [])
    if val and test:
        notes.append(f"{_named(test)}: not used, since there are validation images")
    val = val or test
    if loose := [Path(picture).name for picture in Walk(path).top(path)[1]]:
        notes.append(f"pictures that are in no shard are not used: {_named(loose)}")
    notes += [f"shards are missing: {_named(gaps)}" for gaps in (_gaps(train), _gaps(val)) if gaps]
    with_val = f", {_counted(val)} of validation images" if val else ""
    name = path.resolve().name or str(path)
    return ShardLayout(path, name, train, val, f"{_counted(train)} of training images{with_val}", tuple(notes))


def _tar_files(folder: Path) -> list[str]:
    """In a folder and its subfolders that are named like splits, relative to it, sorted. Hidden ones are left out."""
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return []
    found = [entry.name for entry in inside if _is_tar(entry)]
    for split in inside:
        if role_of(split.name) is not None and split.is_dir():
            try:
                found += sorted(f"{split.name}/{entry.name}" for entry in split.iterdir() if _is_tar(entry))
            except OSError:
                continue
    return found


def _is_tar(entry: Path) -> bool:
    return _TAR.fullmatch(entry.name) is not None and not entry.name.startswith(".") and entry.is_file()


def _role(file: str) -> Role | None:
    folder, _, own = file.rpartition("/")
    return role_of(folder) or role_of(own.partition(".")[0])


def _gaps(files: Sequence[str]) -> list[str]:
    """Names between those of numbered shards that are not there."""
    numbers: dict[tuple[str, int], list[int]] = {}
    for file in files:
        if match := _NUMBERED.fullmatch(file):
            numbers.setdefault((match[1], len(match[2])), []).append(int(match[2]))
    return [
        f"{start}{number:0{digits}}.tar"
        for (start, digits), found in numbers.items()
        if max(found) - min(found) < 10 * len(found)  # else they are not numbered one after another
        for number in sorted({*range(min(found), max(found))} - {*found})
    ]


def _counted(files: Sequence[str]) -> str:
    return "1 shard" if len(files) == 1 else f"{len(files):,} shards"


def _named(files: Sequence[str]) -> str:
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return ", ".join(composed(file) for file in files[:_SHOWN]) + more

"""Listings that are kept in this user's cache, so that a folder is listed once on a machine.

Of processes that start at once, one lists and the others read what it kept.
"""

import contextlib
import hashlib
import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import PIL
from typing_extensions import TypedDict

from efficientformer import __version__
from efficientformer.data.compact.texts import Texts
from efficientformer.data.dataset import SkippedFile
from efficientformer.data.large.class_files import ClassFiles
from efficientformer.data.walk import LeftOut
from efficientformer.errors import RecordError
from efficientformer.paths import user_folder
from efficientformer.reading import checked
from efficientformer.records import atomic_path

Listed = TypeVar("Listed")
_MOST_KEPT = 16
"""Folders whose listings are kept, the newest ones; one of a million files has about 60 MB."""


class _Class(TypedDict):
    folder: str
    num_files: int
    folders: dict[str, list[int]]
    listed_ns: int
    skipped: list[list[str]]
    ignored: dict[str, int]
    others: dict[str, int]


class _About(TypedDict):
    made_by: list[str]
    root: str
    classes: list[_Class]


def kept_file(root: Path, kind: str) -> Path | None:
    """Where something of a kind is kept about a folder, of this machine: others may have another folder there.

    None where this user has no folder for it.
    """
    try:
        folder = user_folder("cache") / kind
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    name = hashlib.sha256(os.fsencode(f"{platform.node()}\0{root.resolve()}")).hexdigest()[:24]
    return folder / f"{name}.npz"


@contextlib.contextmanager
def one_at_a_time(file: Path | None) -> Iterator[None]:
    """Wait until no other process is in the block for the same file, where the system has locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):  # a system or a disk without locks
            import fcntl

            if file is not None:
                lock = stack.enter_context(file.with_suffix(".lock").open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_kept(file: Path | None, root: Path) -> dict[str, ClassFiles]:
    """The classes of a kept listing by their folders; none where there is none, of another version, or damaged."""
    return read_listing(file, root, _About, _classes)


def read_listing(
    file: Path | None, root: Path, kind: Any, read: Callable[[Any, Texts, Mapping[str, np.ndarray]], dict[str, Listed]]
) -> dict[str, Listed]:
    """What `write_listing` kept of `root`; nothing where there is none, of another version, or damaged.

    kind: the type of its `about`. read: makes the parts of the listing of `about`, the files and the arrays.
    """
    if file is None:
        return {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            about = checked(json.loads(arrays["about"].tobytes()), kind)
            if about["made_by"] != made_by() or about["root"] != str(root.resolve()):
                return {}
            return read(about, Texts(arrays["joined"].tobytes(), arrays["ends"]), arrays)
    except (OSError, ValueError, KeyError, EOFError, TypeError, IndexError, BadZipFile):
        return {}


def write_kept(file: Path | None, root: Path, classes: Sequence[ClassFiles]) -> None:
    """Keep a listing. A disk that is full loses nothing: the folder is then listed again."""
    if file is None:
        return
    about: _About = {"made_by": made_by(), "root": str(root.resolve()), "classes": [*map(_about_class, classes)]}
    arrays = {name: np.concatenate([getattr(each, name) for each in classes]) for name in ("sizes", "modified")}
    write_listing(file, about, Texts.concatenated([each.files for each in classes]), arrays)


def write_listing(file: Path, about: object, files: Texts, arrays: Mapping[str, np.ndarray]) -> None:
    """Keep what is listed of these files, and clear old listings. A disk that is full loses nothing."""
    named = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
    named |= {"joined": np.frombuffer(files.joined, np.uint8), "ends": files.ends}
    with contextlib.suppress(RecordError):
        write_arrays(file, {**named, **arrays})
        clear_old(file.parent)


def write_arrays(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises RecordError where it cannot be written."""
    with atomic_path(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def made_by() -> list[str]:
    """What decides which files are pictures."""
    return [__version__, PIL.__version__]


def _about_class(files: ClassFiles) -> _Class:
    return {
        "folder": files.folder,
        "num_files": len(files.files),
        "folders": {folder: [*state] for folder, state in files.folders.items()},
        "listed_ns": files.listed_ns,
        "skipped": [[each.file, each.reason] for each in files.left_out.skipped],
        "ignored": files.left_out.ignored,
        "others": files.left_out.others,
    }


def _classes(about: _About, files: Texts, arrays: Mapping[str, np.ndarray]) -> dict[str, ClassFiles]:
    """Raises ValueError for arrays that do not fit one another."""
    sizes, modified = arrays["sizes"], arrays["modified"]
    num_files = sum(each["num_files"] for each in about["classes"])
    lengths = {num_files, len(files), len(sizes), len(modified)}
    if len(lengths) > 1 or not files.is_whole:
        raise ValueError("the arrays of a kept listing have different lengths")
    found: dict[str, ClassFiles] = {}
    start = 0
    for each in about["classes"]:
        part = slice(start, start := start + each["num_files"])
        skipped = [SkippedFile(file, reason) for file, reason in each["skipped"]]
        found[each["folder"]] = ClassFiles(
            each["folder"],
            files[part],
            sizes[part],
            modified[part],
            {folder: (times[0], times[1], times[2]) for folder, times in each["folders"].items()},
            each["listed_ns"],
            LeftOut(skipped, Counter(each["ignored"]), Counter(each["others"])),
        )
    return found


def clear_old(folder: Path) -> None:
    """Remove all but the newest listings."""
    with contextlib.suppress(OSError):
        by_age = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in by_age[_MOST_KEPT:]:
            path.unlink()
            path.with_suffix(".lock").unlink(missing_ok=True)

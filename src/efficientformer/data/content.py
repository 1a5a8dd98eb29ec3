"""What is in image files: digests, and whether the files can be decoded, known without reading a file again.

An earlier check of a file counts as long as its size, its times and its identity on the disk are the same. The time of
the last change of a file's entry (ctime) is among these: files can be swapped or copied with the time of modification
kept. A file that was changed within the same moment as it was checked is read again.
"""

import functools
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL

from efficientformer.data.formats import formats_to_try
from efficientformer.data.images import Progress, map_in_threads, read_image, read_size
from efficientformer.errors import DataError, RecordError
from efficientformer.reading import read_record
from efficientformer.records import file_digest, write_text

Check = Callable[[str], tuple[int, ...]]
"""Decodes a file, named relative to the root, and returns its facts. Raises DataError with the reason."""
FileState = tuple[int, ...]
"""Size, times of modification and of change in nanoseconds, and number on the disk."""

# Enough pixels for the check to run the whole decoder; large JPEG files are decoded at a fraction of their size.
CHECK_AT_LEAST = 64
# Clocks of file systems are that coarse: two seconds on FAT.
MOMENT_NS = 2 * 10**9
_SAVE_EVERY_S = 300.0
_CHUNK = 1000
_MOST_MIB = 1024


@dataclass(frozen=True)
class Content:
    """A checked file. `problem` is the reason why it cannot be decoded; `digest` is empty if it cannot be read.

    checked_ns: when the check began.
    facts: what else the check found, such as the values of a mask.
    """

    state: FileState
    checked_ns: int
    digest: str
    problem: str | None
    facts: tuple[int, ...] = ()

    def is_of(self, state: FileState) -> bool:
        return self.state == state and changed_ns(state) + MOMENT_NS < self.checked_ns


def file_state(path: Path | str) -> FileState:
    """Raises OSError."""
    status = os.stat(path)  # noqa: PTH116 - called for every file of large sets
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def changed_ns(state: FileState) -> int:
    """When a file was changed last."""
    # Elsewhere, ctime is the time when the file was made.
    return state[2] if os.name == "posix" else state[1]


def check_files(
    root: Path,
    files: Sequence[str],
    *,
    max_pixels: int,
    record: Path | None = None,
    is_first: bool = True,
    progress: Progress | None = None,
    check: Check | None = None,
    checks: str = "",
) -> dict[str, Content]:
    """The content of every file, by its name relative to `root`.

    record: where earlier checks are kept. It is written anew when something was checked, also if this is interrupted;
        without it, or if it is damaged, everything is checked.
    is_first: of the processes that share a record, one writes it.
    progress: called with the number of files that were checked now, and of those to check.
    check: of a file; by default it is decoded as an image, which has no facts. checks: names another check.
    """
    about = about_checks(root, max_pixels) | ({"checks": checks} if checks else {})
    earlier = _read(record, about)
    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
    valid = functools.partial(_still_valid, root, earlier)
    contents = {file: known for chunk in map_in_threads(valid, chunks, None) for file, known in chunk.items()}
    to_check = [file for file in files if file not in contents]
    if not to_check and len(contents) == len(earlier):
        return contents
    written_to = record if is_first else None
    saved = time.monotonic()
    check_one = functools.partial(_check, root, earlier, check or functools.partial(_decode, root, max_pixels))
    try:
        for file, content in zip(to_check, map_in_threads(check_one, to_check, progress), strict=True):
            contents[file] = content
            if time.monotonic() - saved > _SAVE_EVERY_S:
                _write(written_to, about, contents)
                saved = time.monotonic()
    finally:
        _write(written_to, about, contents)
    return contents


def about_checks(root: Path, max_pixels: int) -> dict[str, Any]:
    """What a record of checks is about: those of another root, limit or decoder do not count."""
    decoder = {"pillow": PIL.__version__, "formats": formats_to_try("")}
    return {"root": str(root.resolve()), "max_pixels": max_pixels, **decoder}


def _still_valid(root: Path, earlier: dict[str, Content], files: Sequence[str]) -> dict[str, Content]:
    valid = {}
    for file in files:
        known = earlier.get(file)
        try:
            if known is not None and known.is_of(file_state(f"{root}/{file}")):
                valid[file] = known
        except OSError:  # the check says why
            continue
    return valid


def _decode(root: Path, max_pixels: int, file: str) -> tuple[int, ...]:
    read_image(root / file, at_least=CHECK_AT_LEAST, max_pixels=max_pixels)
    return ()


def check_file(root: Path, max_pixels: int, file: str) -> Content:
    """The content of one file, named relative to `root`."""
    return _check(root, {}, functools.partial(_decode, root, max_pixels), file)


def check_with_size(root: Path, max_pixels: int, file: str) -> tuple[int, ...]:
    """A check whose facts are the width and height of an image."""
    _decode(root, max_pixels, file)
    return read_size(root / file)


def _check(root: Path, earlier: dict[str, Content], check: Check, file: str) -> Content:
    path, began = root / file, time.time_ns()
    try:
        state = file_state(path)
        digest = file_digest(path)
    except OSError as error:
        return Content((0, 0, 0, 0), 0, "", error.strerror or str(error))
    known = earlier.get(file)
    if known is not None and known.digest == digest:
        return Content(state, began, digest, known.problem, known.facts)
    try:
        return Content(state, began, digest, None, check(file))
    except DataError as error:
        return Content(state, began, digest, str(error))


def _read(record: Path | None, about: dict[str, Any]) -> dict[str, Content]:
    if record is None:
        return {}
    try:
        document: Any = read_record(record, dict, most_mib=_MOST_MIB)
        if document["about"] != about:
            return {}
        return {file: _content(*values) for file, values in document["images"].items()}
    except (RecordError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _content(
    size: int, modified: int, changed: int, inode: int, checked: int, digest: str, problem: Any, *facts: int
) -> Content:
    is_valid = all(type(number) is int for number in (size, modified, changed, inode, checked, *facts))
    if not is_valid or not isinstance(digest, str) or not isinstance(problem, str | None):
        raise ValueError("not a record of checked images")
    return Content((size, modified, changed, inode), checked, digest, problem, facts)


def _write(record: Path | None, about: dict[str, Any], contents: dict[str, Content]) -> None:
    if record is None:
        return
    images = {
        file: [*content.state, content.checked_ns, content.digest, content.problem, *content.facts]
        for file, content in contents.items()
    }
    write_text(record, json.dumps({"about": about, "images": images}, ensure_ascii=False) + "\n")

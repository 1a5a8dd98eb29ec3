"""Records: JSON files that are written whole or not at all.

A reader never sees half a record: content goes to a temporary file next to the target, reaches the disk, and takes the
target's name in one step. Standard library only.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from efficientformer.errors import RecordError
from efficientformer.leftovers import temporary_file


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success it replaces `path`, on failure it is removed.

    Temporary files of the same target whose process was killed are removed as well: see `leftovers`. Raises RecordError
    when the disk is full or the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_file(path) as temporary:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
    except OSError as error:
        raise RecordError(
            f"Cannot write {path}: {error.strerror or error}. Free some space or choose another --run-dir."
        ) from error


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_record(path: Path, content: Any) -> None:
    """Write `content` as JSON; NaN and infinity are refused, since JSON has neither."""
    write_text(path, as_json(content, indent=1) + "\n")


def as_json(content: Any, *, indent: int | None = None, encoding: str = "utf-8") -> str:
    """`content` as JSON with its letters as they are; where `encoding` lacks one, such as the bytes of a file name that
    is no UTF-8, in ASCII. Both are read back alike."""
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(content, indent=indent)
    return text


def append_line(path: Path, content: Any) -> None:
    """Append one JSON document as a line. A line cut short by a crash is dropped by `reading.read_lines`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as lines:
            lines.write(as_json(content) + "\n")
    except OSError as error:
        raise RecordError(
            f"Cannot write {path}: {error.strerror or error}. Free some space and run the same command again."
        ) from error


def digest(content: Any) -> str:
    """SHA-256 of a JSON value, independent of key order."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

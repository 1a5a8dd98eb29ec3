"""Records: JSON files that are written whole or not at all.

A reader never sees half a record: content goes to a temporary file next to the target, reaches the disk, and takes the
target's name in one step. Standard library only.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from efficientformer.errors import RecordError


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success it replaces `path`, on failure it is removed.

    Raises RecordError when the disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise RecordError(
            f"Cannot write {path}: {error.strerror or error}. Free some space or choose another --run-dir."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_record(path: Path, content: Any) -> None:
    """Write `content` as JSON; NaN and infinity are refused, since JSON has neither."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def append_line(path: Path, content: Any) -> None:
    """Append one JSON document as a line. A line cut short by a crash is dropped by `reading.read_lines`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")
    except OSError as error:
        raise RecordError(
            f"Cannot write {path}: {error.strerror or error}. Free some space and run the same command again."
        ) from error


def digest(content: Any) -> str:
    """SHA-256 of a JSON value, independent of key order."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

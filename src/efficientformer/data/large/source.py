"""Images of a large folder: decoded when they are used, and not before."""

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from efficientformer.data.compact.texts import Texts
from efficientformer.data.dataset import SkippedFile, UnreadableImageError
from efficientformer.data.images import map_in_threads, read_image
from efficientformer.data.walk import composed
from efficientformer.errors import DataError
from efficientformer.records import file_digest

OnUnreadable = Callable[[SkippedFile], None]


class LargeSource:
    """Files relative to `root`, as long as sizes and times of modification are what was listed.

    sizes, modified: (N,) int64, bytes and nanoseconds.
    kept: the file of the listing, removed when a file turns out to be another: the next command lists anew.
    on_unreadable: called once for each image that cannot be decoded.
    """

    def __init__(
        self,
        root: Path,
        files: Texts,
        sizes: np.ndarray,
        modified: np.ndarray,
        *,
        max_pixels: int,
        kept: Path | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> None:
        self.root, self.files, self.sizes, self.modified = root, files, sizes, modified
        self._max_pixels, self._kept, self._on_unreadable = max_pixels, kept, on_unreadable
        self._reported: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        # Workers report nothing, and what prints cannot be sent to one.
        return {**vars(self), "_on_unreadable": None}

    def open(self, position: int, at_least: int | None = None) -> Image.Image:
        """See `ImageSource`. Raises UnreadableImageError for a file that is as it was listed and cannot be decoded."""
        path = self.root / self.files[position]
        try:
            is_same = self.is_as_listed(position)
        except OSError as error:
            raise self._stale(f"{path} cannot be read any more: {error.strerror or error}. Restore it") from error
        if not is_same:
            raise self._stale(f"{path} has changed since the images were listed")
        try:
            return read_image(path, at_least=at_least, max_pixels=self._max_pixels)
        except DataError as error:
            cause = error.__cause__
            if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None):
                # Of the disk or of this machine: another time the same image may be read.
                raise DataError(f"{path} cannot be read: {error}. Run the same command again to resume.") from error
            raise UnreadableImageError(self.name(position), str(error)) from error

    def name(self, position: int) -> str:
        return composed(self.files[position])

    def is_as_listed(self, position: int) -> bool:
        """Whether size and time of modification are what was listed. Raises OSError."""
        status = os.stat(f"{self.root}/{self.files[position]}")  # noqa: PTH116 - for every image that is opened
        return (status.st_size, status.st_mtime_ns) == (self.sizes[position], self.modified[position])

    def report(self, skipped: SkippedFile) -> None:
        if skipped.file not in self._reported:
            self._reported.add(skipped.file)
            if self._on_unreadable is not None:
                self._on_unreadable(skipped)

    def digests(self, positions: Sequence[int], sizes: Iterable[int]) -> set[str]:
        """Digests of the contents of those among `positions` that have one of these sizes in bytes."""
        of_size = np.isin(self.sizes, np.fromiter(sizes, np.int64))
        files = [self.root / self.files[position] for position in positions if of_size[position]]
        return {digest for digest in map_in_threads(_digest, files, None) if digest}

    def _stale(self, what: str) -> DataError:
        if self._kept is not None:
            with contextlib.suppress(OSError):
                self._kept.unlink(missing_ok=True)
        return DataError(f"{what}. Run the same command again: the images are listed anew.")


def _digest(file: Path) -> str:
    """Empty for a file that cannot be read."""
    try:
        return file_digest(file)
    except OSError:
        return ""

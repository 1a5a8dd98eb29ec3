"""Images that are not decoded before they are used, wherever they are stored."""

import contextlib
import hashlib
import io
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from efficientformer.data.compact.texts import Texts
from efficientformer.data.content import CHECK_AT_LEAST, Content, FileState
from efficientformer.data.dataset import SkippedFile, UnreadableImageError
from efficientformer.data.formats import extension_of
from efficientformer.data.images import decode_image, map_in_threads
from efficientformer.data.walk import composed
from efficientformer.errors import DataError

OnUnreadable = Callable[[SkippedFile], None]


class UndecodedSource:
    """An `UncheckedSource` of named images of known sizes. Of each kind of storage there is a subclass, with
    `place`, `state`, `is_as_listed` and `content`.

    root: the folder that was given. files: their names in it. sizes: (N,) int64, bytes.
    kept: the file of the listing, removed when an image turns out to be another: the next command lists anew.
    on_unreadable: called once for each image that cannot be decoded.
    was_checked: whether all images were decoded once, and the splits leave out those that cannot be.
    """

    was_checked = False

    def __init__(
        self,
        root: Path,
        files: Texts,
        sizes: np.ndarray,
        *,
        max_pixels: int,
        kept: Path | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> None:
        self.root, self.files, self.sizes = root, files, sizes
        self._max_pixels, self._kept, self._on_unreadable = max_pixels, kept, on_unreadable
        self._reported: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        # Workers report nothing, and what prints cannot be sent to one.
        return {**vars(self), "_on_unreadable": None}

    def place(self, position: int) -> str:
        """The file that an image is in, for messages."""
        raise NotImplementedError

    def state(self, position: int) -> FileState:
        """The state of that file now. Raises OSError."""
        raise NotImplementedError

    def is_as_listed(self, position: int) -> bool:
        """Whether that file is what was listed. Raises OSError."""
        raise NotImplementedError

    def content(self, position: int) -> bytes:
        """The bytes of an image. Raises OSError."""
        raise NotImplementedError

    def decoded(self, position: int, at_least: int | None) -> Image.Image:
        """Raises DataError with the reason."""
        try:
            content = self.content(position)
        except OSError as error:
            raise DataError(error.strerror or str(error)) from error
        return self._decoded(position, content, at_least)

    def digest(self, position: int) -> str:
        """SHA-256 of the bytes of an image. Raises OSError."""
        return hashlib.sha256(self.content(position)).hexdigest()

    def check(self, position: int) -> Content:
        """What is in an image, and whether it can be decoded."""
        began, problem = time.time_ns(), None
        try:
            state, content = self.state(position), self.content(position)
        except OSError as error:
            return Content((0, 0, 0, 0), 0, "", error.strerror or str(error))
        try:
            self._decoded(position, content, CHECK_AT_LEAST)
        except DataError as error:
            problem = str(error)
        return Content(state, began, hashlib.sha256(content).hexdigest(), problem)

    def _decoded(self, position: int, content: bytes, at_least: int | None) -> Image.Image:
        extension = extension_of(self.files[position])
        return decode_image(io.BytesIO(content), extension, at_least=at_least, max_pixels=self._max_pixels)

    def open(self, position: int, at_least: int | None = None) -> Image.Image:
        """See `ImageSource`. Raises UnreadableImageError for one that is as it was listed and cannot be decoded."""
        place = self.place(position)
        try:
            is_same = self.is_as_listed(position)
        except OSError as error:
            raise self._stale(f"{place} cannot be read any more: {error.strerror or error}. Restore it") from error
        if not is_same:
            raise self._stale(f"{place} has changed since the images were listed")
        try:
            return self.decoded(position, at_least)
        except DataError as error:
            cause = error.__cause__
            if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None):
                # Of the disk or of this machine: another time the same image may be read.
                raise DataError(f"{place} cannot be read: {error}. Run the same command again to resume.") from error
            raise UnreadableImageError(self.name(position), str(error)) from error

    def name(self, position: int) -> str:
        return composed(self.files[position])

    def report(self, skipped: SkippedFile) -> None:
        if skipped.file not in self._reported:
            self._reported.add(skipped.file)
            if self._on_unreadable is not None:
                self._on_unreadable(skipped)

    def digests(self, positions: Sequence[int], sizes: Iterable[int]) -> set[str]:
        """Digests of the contents of those among `positions` that have one of these sizes in bytes."""
        of_size = np.isin(self.sizes, np.fromiter(sizes, np.int64))
        chosen = [position for position in positions if of_size[position]]
        return {digest for digest in map_in_threads(self._digest_if_there, chosen, None) if digest}

    def _digest_if_there(self, position: int) -> str:
        """Empty for an image that cannot be read."""
        try:
            return self.digest(position)
        except OSError:
            return ""

    def _stale(self, what: str) -> DataError:
        if self._kept is not None:
            with contextlib.suppress(OSError):
                self._kept.unlink(missing_ok=True)
        return DataError(f"{what}. Run the same command again: the images are listed anew.")

"""Images of a large folder, each a file of its own."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from efficientformer.data.compact.texts import Texts
from efficientformer.data.content import Content, FileState, check_file, file_state
from efficientformer.data.images import read_image
from efficientformer.data.large.undecoded import UndecodedSource
from efficientformer.records import file_digest


class LargeSource(UndecodedSource):
    """Files relative to `root`, as long as sizes and times of modification are what was listed.

    modified: (N,) int64, nanoseconds. The other arguments are those of `UndecodedSource`.
    """

    def __init__(self, root: Path, files: Texts, sizes: np.ndarray, modified: np.ndarray, **options: Any) -> None:
        super().__init__(root, files, sizes, **options)
        self.modified = modified

    def place(self, position: int) -> str:
        return str(self._path(position))

    def state(self, position: int) -> FileState:
        return file_state(f"{self.root}/{self.files[position]}")

    def is_as_listed(self, position: int) -> bool:
        status = os.stat(f"{self.root}/{self.files[position]}")  # noqa: PTH116 - for every image that is opened
        return (status.st_size, status.st_mtime_ns) == (self.sizes[position], self.modified[position])

    def decoded(self, position: int, at_least: int | None) -> Image.Image:
        return read_image(self._path(position), at_least=at_least, max_pixels=self._max_pixels)

    def content(self, position: int) -> bytes:
        return self._path(position).read_bytes()

    def digest(self, position: int) -> str:
        return file_digest(self._path(position))

    def check(self, position: int) -> Content:
        return check_file(self.root, self._max_pixels, self.files[position])

    def _path(self, position: int) -> Path:
        return self.root / self.files[position]

"""Images in tar files, each read at its place."""

import hashlib
import io
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from efficientformer.data.compact.texts import Texts
from efficientformer.data.content import CHECK_AT_LEAST, Content, FileState, file_state
from efficientformer.data.formats import extension_of
from efficientformer.data.images import decode_image
from efficientformer.data.large.undecoded import UndecodedSource
from efficientformer.data.shards.shard import Shard
from efficientformer.errors import DataError


class ShardSource(UndecodedSource):
    """The images of shards in `root`, one shard after another, as long as these are what was listed.

    The other arguments are those of `UndecodedSource`. A shard is opened for each image: a process then holds no more
    files open than it reads, of thousands of shards, and shares no place in one with another process.
    """

    def __init__(self, root: Path, shards: Sequence[Shard], **options: Any) -> None:
        sizes = np.concatenate([shard.sizes for shard in shards])
        super().__init__(root, Texts.concatenated([shard.names for shard in shards]), sizes, **options)
        self._offsets = np.concatenate([shard.offsets for shard in shards])
        self._shards = [(str(root / shard.file), shard.state[:2]) for shard in shards]
        self._shard_of = np.repeat(np.arange(len(shards), dtype=np.int32), [len(shard.names) for shard in shards])

    def place(self, position: int) -> str:
        return self._shards[self._shard_of[position]][0]

    def state(self, position: int) -> FileState:
        return file_state(self.place(position))

    def is_as_listed(self, position: int) -> bool:
        place, listed = self._shards[self._shard_of[position]]
        status = os.stat(place)  # noqa: PTH116 - for every image that is opened
        return (status.st_size, status.st_mtime_ns) == listed

    def decoded(self, position: int, at_least: int | None) -> Image.Image:
        try:
            content = self.content(position)
        except OSError as error:
            raise DataError(error.strerror or str(error)) from error
        return self._decoded(position, content, at_least)

    def digest(self, position: int) -> str:
        return hashlib.sha256(self.content(position)).hexdigest()

    def check(self, position: int) -> Content:
        began = time.time_ns()
        try:
            state, content = self.state(position), self.content(position)
        except OSError as error:
            return Content((0, 0, 0, 0), 0, "", error.strerror or str(error))
        problem = None
        try:
            self._decoded(position, content, CHECK_AT_LEAST)
        except DataError as error:
            problem = str(error)
        return Content(state, began, hashlib.sha256(content).hexdigest(), problem)

    def content(self, position: int) -> bytes:
        with open(self.place(position), "rb") as shard:  # noqa: PTH123 - as above
            shard.seek(int(self._offsets[position]))
            return shard.read(int(self.sizes[position]))

    def _decoded(self, position: int, content: bytes, at_least: int | None) -> Image.Image:
        extension = extension_of(self.files[position])
        return decode_image(io.BytesIO(content), extension, at_least=at_least, max_pixels=self._max_pixels)

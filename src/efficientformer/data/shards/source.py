"""Images in tar files, each read at its place."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from efficientformer.data.compact.texts import Texts
from efficientformer.data.content import FileState, file_state
from efficientformer.data.large.undecoded import UndecodedSource
from efficientformer.data.shards.shard import Shard


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

    def content(self, position: int) -> bytes:
        with open(self.place(position), "rb") as shard:  # noqa: PTH123 - as above
            shard.seek(int(self._offsets[position]))
            return shard.read(int(self.sizes[position]))

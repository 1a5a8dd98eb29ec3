"""Texts as one run of bytes."""

from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np


class Texts(Sequence[str]):
    """A sequence of texts that are held one after another in UTF-8; `ends` (N,) is where each ends."""

    def __init__(self, joined: bytes, ends: np.ndarray) -> None:
        self.joined, self.ends = joined, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        encoded = [text.encode() for text in texts]
        return cls(b"".join(encoded), np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded))))

    @classmethod
    def concatenated(cls, parts: Sequence["Texts"]) -> "Texts":
        starts = np.cumsum([0, *(len(part.joined) for part in parts)])
        ends = [part.ends + start for part, start in zip(parts, starts[:-1], strict=True)]
        return cls(b"".join(part.joined for part in parts), np.concatenate([np.empty(0, np.int64), *ends]))

    @property
    def is_whole(self) -> bool:
        """Whether every text ends within the bytes, after the one before it, and the last one with them."""
        ends = np.concatenate([[0], self.ends])
        return bool(np.all(np.diff(ends) >= 0) and ends[-1] == len(self.joined))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "Texts": ...
    def __getitem__(self, index: int | slice) -> "str | Texts":
        if not isinstance(index, slice):
            if index < 0:
                index = range(len(self))[index]
            return self.joined[self._start(index) : self.ends[index]].decode()
        first, last, step = index.indices(len(self))
        if step != 1:
            return Texts.of(self[i] for i in range(first, last, step))
        start, ends = self._start(first), self.ends[first:last]
        return Texts(self.joined[start : int(ends[-1]) if len(ends) else start], ends - start)

    def _start(self, index: int) -> int:
        return self.ends[index - 1] if index else 0

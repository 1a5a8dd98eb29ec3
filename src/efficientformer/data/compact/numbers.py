"""Whole numbers as one array."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

_CHUNK = 65536


class Numbers(Sequence[int]):
    """A sequence of Python's integers that are held as an array."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> "Numbers": ...
    def __getitem__(self, index: int | slice) -> "int | Numbers":
        return Numbers(self.array[index]) if isinstance(index, slice) else int(self.array[index])

    def __iter__(self) -> Iterator[int]:
        for start in range(0, len(self.array), _CHUNK):
            yield from self.array[start : start + _CHUNK].tolist()

    def taken(self, indices: Sequence[int]) -> "Numbers":
        """Those at `indices`, in that order."""
        return Numbers(self.array[_as_array(indices)])

    def counts(self, number: int) -> list[int]:
        """How often each of 0 to `number` - 1 occurs; no other may."""
        return np.bincount(self.array, minlength=number).tolist()


def _as_array(indices: Sequence[int]) -> np.ndarray:
    return indices.array if isinstance(indices, Numbers) else np.fromiter(indices, np.int64, len(indices))

"""Images with the same content."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Copy:
    """One of several files with the same content: its name, its split, and its classes."""

    file: str
    split: str
    classes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"file": self.file, "split": self.split, "classes": list(self.classes)}


@dataclass(frozen=True)
class Duplicates:
    """Groups of files with the same content, in the order of their first files."""

    groups: list[list[Copy]]

    @property
    def across(self) -> list[list[Copy]]:
        """In training and validation: such images are scored that were trained on."""
        return [group for group in self.groups if len({copy.split for copy in group}) > 1]

    @property
    def with_other_classes(self) -> list[list[Copy]]:
        """Labelled in different ways: at least one label is wrong."""
        return [group for group in self.groups if len({copy.classes for copy in group}) > 1]

    def to_json(self) -> dict[str, Any]:
        return {
            "num_files": sum(len(group) - 1 for group in self.groups),
            "across": [[copy.file for copy in group] for group in self.across],
            "relabelled": [[copy.file for copy in group] for group in self.with_other_classes],
            "groups": [[copy.to_json() for copy in group] for group in self.groups],
        }


def equal_rows(digests: np.ndarray) -> list[list[int]]:
    """Groups of at least two positions whose rows of `digests` (N, 32) are the same, each in ascending order, by their
    first position."""
    # Few have the same first bytes: only these are compared as a whole.
    firsts = np.ascontiguousarray(digests[:, :8]).view(np.uint64).ravel()
    _, group_of, sizes = np.unique(firsts, return_inverse=True, return_counts=True)
    groups: dict[bytes, list[int]] = {}
    for position in np.flatnonzero(sizes[group_of] > 1).tolist():
        groups.setdefault(digests[position].tobytes(), []).append(position)
    return [group for group in groups.values() if len(group) > 1]

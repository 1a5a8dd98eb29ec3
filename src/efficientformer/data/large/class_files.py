"""The pictures of a class folder as arrays, with what says later that the folder is still the same."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efficientformer.data.compact.texts import Texts
from efficientformer.data.content import MOMENT_NS
from efficientformer.data.dataset import SkippedFile
from efficientformer.data.walk import FolderState, LeftOut, Walk, composed, folder_state, reason_of, relative

EMPTY_FILE = "empty file"


@dataclass(frozen=True, eq=False)
class ClassFiles:
    """The pictures below a class folder, at any depth, in the order of their names. Paths are relative to the root.

    sizes, modified: (N,) int64, bytes and times of modification in nanoseconds.
    folders: those that the pictures lie in, each with its state before it was listed.
    listed_ns: when listing began.
    """

    folder: str
    files: Texts
    sizes: np.ndarray
    modified: np.ndarray
    folders: dict[str, FolderState]
    listed_ns: int
    left_out: LeftOut

    def is_current(self, root: Path) -> bool:
        """Whether no file was added, removed or renamed since. What was left out may be readable now, so a class with
        such files is listed again, as is one that was changed in the moment of its listing."""
        return not self.left_out.skipped and all(
            folder_state(f"{root}/{folder}") == state and max(state[:2]) + MOMENT_NS < self.listed_ns
            for folder, state in self.folders.items()
        )


def list_class(root: Path, folder: Path) -> ClassFiles:
    """List a class folder in `root`; what is left out is named. Empty files are."""
    began, walk = time.time_ns(), Walk(root)
    rows: list[tuple[str, str, int, int]] = []
    for path in walk.pictures(folder):
        file = relative(root, path)
        try:
            status = os.stat(path)  # noqa: PTH116 - called for millions of files
        except OSError as error:
            walk.left_out.skipped.append(SkippedFile(composed(file), reason_of(error)))
            continue
        if status.st_size == 0:
            walk.left_out.skipped.append(SkippedFile(composed(file), EMPTY_FILE))
            continue
        rows.append((composed(file), file, status.st_size, status.st_mtime_ns))
    rows.sort()
    return ClassFiles(
        folder=relative(root, str(folder)),
        files=Texts.of(file for _, file, _, _ in rows),
        sizes=np.array([size for _, _, size, _ in rows], np.int64),
        modified=np.array([time_ns for _, _, _, time_ns in rows], np.int64),
        folders={relative(root, path): state for path, state in walk.folders.items()},
        listed_ns=began,
        left_out=walk.left_out,
    )

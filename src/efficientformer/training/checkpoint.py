"""Checkpoints: everything a run needs to continue as if it had never stopped.

A checkpoint holds plain tensors and numbers, is read with `weights_only=True`, and contains the fingerprint of its run:
a checkpoint of other settings or other data is not used. The one before the last stays beside it, for a disk that
damages the last.
"""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from efficientformer.models.weights_file import content_digest, read_archive, reason_in_one_line
from efficientformer.records import atomic_path

MOST_OF_TIME = 0.02
"""The largest share of a training that is spent on writing checkpoints."""


class CheckpointFile:
    """One checkpoint on disk, written at most every `interval_s` seconds and seldom enough for `MOST_OF_TIME`; with 0
    seconds, after every step.

    A crash loses at most one interval; with 20 seconds a kill costs less than a minute, loading included, where a
    checkpoint is written in less than 0.4 seconds. `say` shows a line about a checkpoint that is not used; by default
    it is a warning of Python's.
    """

    def __init__(self, path: Path, fingerprint: str, *, interval_s: float = 20.0) -> None:
        self.path = path
        self.say: Callable[[str], None] = lambda text: warnings.warn(text, stacklevel=3)
        self._fingerprint = fingerprint
        self._interval_s = interval_s
        self._is_last_good = False
        self._written_at = time.monotonic()
        self._writing_s = 0.0

    def load(self) -> dict[str, Any] | None:
        """The state saved last or, if it is damaged, the one before it. None if there is none of this run."""
        unused: list[str] = []
        # The last is missing where a crash came between two checkpoints.
        for path in (self.path, _before(self.path)):
            if not path.exists():
                continue
            try:
                content = read_archive(path)
                fingerprint, state = content["fingerprint"], content["state"]
                if content.get("sha256", "") not in ("", content_digest(state)):
                    raise ValueError("its content does not match its digest")
            except Exception as error:  # of a damaged file a reader may raise anything
                unused.append(f"{path} is damaged ({reason_in_one_line(error)})")
                continue
            if fingerprint != self._fingerprint:
                unused.append(f"{path} is of other settings or other images")
                continue
            if unused:
                self.say(f"{'; '.join(unused)}: training goes on from the checkpoint before it, at {path}")
            self._is_last_good = path == self.path
            return state
        if unused:
            self.say(f"{'; '.join(unused)}: training starts over")
        return None

    def is_due(self) -> bool:
        least_s = self._interval_s and max(self._interval_s, self._writing_s / MOST_OF_TIME)
        return time.monotonic() - self._written_at >= least_s

    def save(self, state: dict[str, Any]) -> None:
        began_at = time.monotonic()
        # With a stream of our own a full disk is an OSError, which `atomic_path` explains.
        with atomic_path(self.path) as temporary:
            with temporary.open("wb") as stream:
                content = {"fingerprint": self._fingerprint, "state": state, "sha256": content_digest(state)}
                torch.save(content, stream)
            if self._is_last_good and self.path.exists():
                self.path.replace(_before(self.path))
        self._is_last_good = True
        self._written_at = time.monotonic()
        self._writing_s = self._written_at - began_at

    def remove(self) -> None:
        """Remove the checkpoint of a training that is finished."""
        remove_checkpoint(self.path)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint and the one before it."""
    for file in (path, _before(path)):
        file.unlink(missing_ok=True)


def _before(path: Path) -> Path:
    return path.with_name(f"{path.stem}.before{path.suffix}")

"""Checkpoints: everything a run needs to continue as if it had never stopped.

A checkpoint holds plain tensors and numbers, is read with `weights_only=True`, and contains the fingerprint of its run:
a checkpoint of other settings or other data is ignored.
"""

import pickle
import time
import zipfile
from pathlib import Path
from typing import Any

import torch

from efficientformer.records import atomic_path


class CheckpointFile:
    """One checkpoint on disk, written at most every `interval_s` seconds.

    A crash loses at most one interval; with 20 seconds a kill costs less than a minute, loading included.
    """

    def __init__(self, path: Path, fingerprint: str, *, interval_s: float = 20.0) -> None:
        self.path = path
        self._fingerprint = fingerprint
        self._interval_s = interval_s
        self._written_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state saved last, or None if there is none of this run."""
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile):
            return None
        belongs = isinstance(state, dict) and state.get("fingerprint") == self._fingerprint
        return state["state"] if belongs else None

    def is_due(self) -> bool:
        return time.monotonic() - self._written_at >= self._interval_s

    def save(self, state: dict[str, Any]) -> None:
        # With a stream of our own a full disk is an OSError, which `atomic_path` explains.
        with atomic_path(self.path) as temporary, temporary.open("wb") as stream:
            torch.save({"fingerprint": self._fingerprint, "state": state}, stream)
        self._written_at = time.monotonic()

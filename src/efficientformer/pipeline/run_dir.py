"""The run directory: the name of every file a run reads or writes, in one place."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efficientformer.errors import RecordError, UsageError
from efficientformer.records import read_record, write_record


@dataclass(frozen=True)
class NetworkFiles:
    """The folder of one found network."""

    folder: Path

    architecture = property(lambda self: self.folder / "architecture.json")
    metrics = property(lambda self: self.folder / "metrics.jsonl")
    checkpoint = property(lambda self: self.folder / "checkpoint.pt")
    train_record = property(lambda self: self.folder / "train.json")
    weights = property(lambda self: self.folder / "weights.safetensors")
    evaluation = property(lambda self: self.folder / "evaluation.json")
    onnx = property(lambda self: self.folder / "model.onnx")
    export_record = property(lambda self: self.folder / "export.json")


@dataclass(frozen=True)
class RunDir:
    """One run on disk. Everything else about the run can be rebuilt from these files."""

    root: Path

    settings = property(lambda self: self.root / "settings.json")
    data = property(lambda self: self.root / "data.json")
    table = property(lambda self: self.root / "table.json")
    table_partial = property(lambda self: self.root / "table.partial.jsonl")
    supernet_metrics = property(lambda self: self.root / "supernet" / "metrics.jsonl")
    supernet_checkpoint = property(lambda self: self.root / "supernet" / "checkpoint.pt")
    supernet_weights = property(lambda self: self.root / "supernet" / "weights.safetensors")
    supernet_record = property(lambda self: self.root / "supernet" / "record.json")
    evaluations = property(lambda self: self.root / "slim" / "evaluations.jsonl")
    slim_steps = property(lambda self: self.root / "slim" / "steps.jsonl")
    recovery_metrics = property(lambda self: self.root / "slim" / "recovery.jsonl")
    recovery_checkpoint = property(lambda self: self.root / "slim" / "recovery.pt")
    corrections = property(lambda self: self.root / "slim" / "corrections.json")
    baselines = property(lambda self: self.root / "slim" / "baselines.json")
    trials = property(lambda self: self.root / "slim" / "trials")
    trace = property(lambda self: self.root / "slim" / "trace.json")
    rank = property(lambda self: self.root / "rank" / "rank.json")
    rank_trained = property(lambda self: self.root / "rank" / "trained")
    verification = property(lambda self: self.root / "verification.json")
    result = property(lambda self: self.root / "result.json")
    report = property(lambda self: self.root / "report.html")

    def recovered(self, step: int) -> Path:
        """Weights of the supernet after a step of slimming that trained them."""
        return self.root / "slim" / f"recovered-{step}.safetensors"

    def recovered_weights(self) -> dict[int, Path]:
        """Those that are there, by step."""
        paths = (self.root / "slim").glob("recovered-*.safetensors")
        return {int(path.stem.removeprefix("recovered-")): path for path in paths}

    def network(self, slug: str) -> NetworkFiles:
        return NetworkFiles(self.root / "networks" / slug)

    def stamp(self, phase: str) -> Path:
        return self.root / "stamps" / f"{phase}.json"

    def given_settings(self) -> dict[str, Any]:
        """The settings this run was given so far; none for a new run."""
        if not self.settings.exists():
            return {}
        record = read_record(self.settings)
        if not isinstance(record, dict) or not isinstance(record.get("given"), dict):
            raise RecordError(f"{self.settings} is not a settings record. Restore it, or choose another --run-dir.")
        return record["given"]

    def remember_settings(self, given: dict[str, Any], resolved: dict[str, Any]) -> None:
        write_record(self.settings, {"given": given, **resolved})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second process out of the directory. Raises UsageError when one is already at work there."""
        try:
            import fcntl
        except ImportError:  # no file locks on this system
            yield
            return
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UsageError(f"--run-dir {self.root} cannot be used: {error.strerror}.") from error
        try:
            _lock(fcntl, handle, self.root)
            yield
        finally:
            os.close(handle)


def _lock(fcntl: Any, handle: int, root: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"Another efficientformer process works in {root}. Wait for it or choose another --run-dir."
        ) from error

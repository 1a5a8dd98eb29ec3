"""The run directory: the name of every file a run reads or writes, in one place."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from efficientformer.errors import UsageError
from efficientformer.reading import read_record
from efficientformer.records import write_record


class SettingsRecord(TypedDict):
    """`settings.json`: the settings that the run was given, and beside them all that follow."""

    given: dict[str, Any]


class NetworkFiles:
    """The folder of one network of the run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.architecture = folder / "architecture.json"
        self.metrics = folder / "metrics.jsonl"
        self.checkpoint = folder / "checkpoint.pt"
        self.train_record = folder / "train.json"
        self.weights = folder / "weights.safetensors"
        self.evaluation = folder / "evaluation.json"
        self.onnx = folder / "model.onnx"
        self.export_record = folder / "export.json"


class RunDir:
    """One run on disk. Everything else about the run can be rebuilt from these files."""

    def __init__(self, root: Path) -> None:
        supernet, slim, rank = root / "supernet", root / "slim", root / "rank"
        self.root = root
        self.settings = root / "settings.json"
        self.data = root / "data.json"
        self.table = root / "table.json"
        self.table_partial = root / "table.partial.jsonl"
        self.supernet_metrics = supernet / "metrics.jsonl"
        self.supernet_checkpoint = supernet / "checkpoint.pt"
        self.supernet_weights = supernet / "weights.safetensors"
        self.supernet_record = supernet / "record.json"
        self.evaluations = slim / "evaluations.jsonl"
        self.slim_steps = slim / "steps.jsonl"
        self.recovery_metrics = slim / "recovery.jsonl"
        self.recovery_checkpoint = slim / "recovery.pt"
        self.corrections = slim / "corrections.json"
        self.baselines = slim / "baselines.json"
        self.trials = slim / "trials"
        self.trace = slim / "trace.json"
        self.rank = rank / "rank.json"
        self.rank_trained = rank / "trained"
        self.networks = root / "networks"
        self.verification = root / "verification.json"
        self.result = root / "result.json"
        self.report = root / "report.html"

    @classmethod
    def of_network_file(cls, path: Path) -> "RunDir":
        """The run that a file in the folder of one of its networks belongs to."""
        return cls(path.parents[2])

    def recovered(self, step: int) -> Path:
        """Weights of the supernet after a step of slimming that trained them."""
        return self.root / "slim" / f"recovered-{step}.safetensors"

    def recovered_weights(self) -> dict[int, Path]:
        """The files of `recovered` that exist, by step."""
        paths = (self.root / "slim").glob("recovered-*.safetensors")
        return {int(path.stem.removeprefix("recovered-")): path for path in paths}

    def network(self, slug: str) -> NetworkFiles:
        return NetworkFiles(self.networks / slug)

    def stamp(self, phase: str) -> Path:
        return self.root / "stamps" / f"{phase}.json"

    def given_settings(self) -> dict[str, Any]:
        """Settings that this run was given so far; empty for a new run. Raises RecordError if they cannot be read."""
        if not self.settings.exists():
            return {}
        return read_record(self.settings, SettingsRecord, remedy="Restore it, or choose another --run-dir.")["given"]

    def remember_settings(self, given: dict[str, Any], resolved: dict[str, Any]) -> None:
        write_record(self.settings, {"given": given, **resolved})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second process out of the directory. Raises UsageError when another process is using it."""
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
            f"Another efficientformer process is using {root}. Wait for it or choose another --run-dir."
        ) from error

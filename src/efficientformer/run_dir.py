"""The run directory: the name of every file a run reads or writes, in one place."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from efficientformer.errors import RecordError, UsageError
from efficientformer.leftovers import clear_leftovers
from efficientformer.reading import read_record
from efficientformer.records import write_record


class SettingsRecord(TypedDict):
    """`settings.json`: the settings that the run was given, and beside them all that follow.

    programs: what is remembered of the programs among them; it is compared with its signature before it is used.
    """

    given: dict[str, Any]
    programs: NotRequired[Any]


REMEDY = "Restore it, or choose another --run-dir."
"""For a settings record that cannot be used."""
MAX_NAME_BYTES = 200
"""Names of files may have 255 bytes on most systems; endings are appended."""
FOLDERS = ("supernet", "slim", "rank", "networks", "references", "stamps", "events")


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
        self.examples = folder / "examples" / "examples.json"
        self.onnx = folder / "model.onnx"
        self.export_record = folder / "export.json"
        self.latency = folder / "latency.json"


class RunDir:
    """One run on disk. Everything else about the run can be rebuilt from these files."""

    def __init__(self, root: Path) -> None:
        supernet, slim, rank = root / "supernet", root / "slim", root / "rank"
        self.root = root
        self.settings = root / "settings.json"
        self.space = root / "space.json"
        self.data = root / "data.json"
        self.checked_images = root / "images.json"
        self.unreadable = root / "unreadable.jsonl"
        self.checked_unlabelled = root / "unlabelled.json"
        self.table = root / "table.json"
        self.table_partial = root / "table.partial.jsonl"
        self.parent_weights = supernet / "parent.safetensors"
        self.supernet_metrics = supernet / "metrics.jsonl"
        self.supernet_checkpoint = supernet / "checkpoint.pt"
        self.elastic_metrics = supernet / "elastic.jsonl"
        self.elastic_checkpoint = supernet / "elastic.pt"
        self.supernet_weights = supernet / "weights.safetensors"
        self.supernet_record = supernet / "record.json"
        self.sorted_supernet = slim / "sorted.safetensors"
        self.evaluations = slim / "evaluations.jsonl"
        self.slim_steps = slim / "steps.jsonl"
        self.second_round = slim / "second_round.jsonl"
        self.recovery_metrics = slim / "recovery.jsonl"
        self.recovery_checkpoint = slim / "recovery.pt"
        self.corrections = slim / "corrections.json"
        self.baselines = slim / "baselines.json"
        self.trials = slim / "trials"
        self.trace = slim / "trace.json"
        self.rank = rank / "rank.json"
        self.rank_trained = rank / "trained"
        self.networks = root / "networks"
        self.events = root / "events"
        self.references = root / "references" / "chosen.json"
        self.verification = root / "verification.json"
        self.verified_sessions = root / "verification.sessions.jsonl"
        self.published = root / "published.json"
        self.result = root / "result.json"
        self.report = root / "report.html"

    @classmethod
    def of_network_file(cls, path: Path) -> "RunDir":
        """The run that a file in the folder of one of its networks belongs to."""
        return cls(path.parents[2])

    def recovered(self, name: str) -> Path:
        """Weights of the supernet after a step of slimming that trained them."""
        return self.root / "slim" / f"recovered-{name}.safetensors"

    def all_recovered(self) -> list[Path]:
        """The files of `recovered` that exist."""
        return sorted((self.root / "slim").glob("recovered-*.safetensors"))

    def network(self, slug: str) -> NetworkFiles:
        """The folder of a network. Raises RecordError for a name that could lead out of the directory."""
        return NetworkFiles(self.networks / _checked(slug, "network"))

    def reference(self, name: str) -> NetworkFiles:
        """The folder of a published network that is fine-tuned for comparison. Raises as `network` does."""
        return NetworkFiles(self.references.with_name(_checked(name, "network")))

    def stamp(self, phase: str) -> Path:
        """The stamp of a phase. Raises as `network` does, whose name may be a part of it."""
        return self.root / "stamps" / f"{_checked(phase, 'phase of a network')}.json"

    def given_settings(self) -> dict[str, Any]:
        """Settings that this run was given so far; empty for a new run. Raises RecordError if they cannot be read."""
        return self._settings_record()["given"]

    def remembered_programs(self) -> Any:
        """What an earlier command remembered of the programs that its user named, unchecked; None for a new run."""
        return self._settings_record().get("programs")

    def _settings_record(self) -> SettingsRecord:
        if not self.settings.exists():
            return {"given": {}}
        return read_record(self.settings, SettingsRecord, remedy=REMEDY)

    def remember_settings(self, given: dict[str, Any], resolved: dict[str, Any], programs: Any = None) -> None:
        write_record(self.settings, {"given": given, **({"programs": programs} if programs else {}), **resolved})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second process out of the directory.

        Raises UsageError when another process is using it, RecordError for a link in it that leads elsewhere: the run
        would write there.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            _refuse_links(self)
            handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        except OSError as error:
            raise UsageError(f"--run-dir {self.root} cannot be used: {error.strerror or error}.") from error
        try:
            _lock(handle, self.root)
            self._clear_leftovers()
            yield
        finally:
            os.close(handle)

    def _clear_leftovers(self) -> None:
        """Remove temporary files that earlier commands left behind when they were killed."""
        clear_leftovers(self.root)
        for name in FOLDERS:
            for folder, _, _ in os.walk(self.root / name):
                clear_leftovers(Path(folder))


def is_name(name: Any) -> bool:
    """Whether a name from a record is one of a file, on every system: no path, nothing that no folder can hold."""
    if not isinstance(name, str) or name in ("", ".", "..") or not name.isprintable():
        return False
    return set(name).isdisjoint("/\\:") and len(name.encode(errors="replace")) <= MAX_NAME_BYTES


def _checked(name: Any, what: str) -> str:
    if not is_name(name):
        shown = ascii(name)
        raise RecordError(
            f"{shown if len(shown) < 100 else shown[:100] + '...'} is not the name of a {what}: a record of the run "
            "was damaged or made by somebody else. Run slim again, or choose another --run-dir."
        )
    return name


def _refuse_links(run_dir: RunDir) -> None:
    root = os.path.realpath(run_dir.root)
    files = [path for path in vars(run_dir).values() if path.parent == run_dir.root]
    pending = [run_dir.root / ".lock", *files, *(run_dir.root / name for name in FOLDERS)]
    seen = set()
    while pending:
        path = pending.pop()
        real = Path(os.path.realpath(path))
        if path.is_symlink() and (real.is_symlink() or not real.is_relative_to(root)):
            raise RecordError(
                f"{path} is a link that leads out of the run directory, so nothing is written there. Remove it, or "
                "make the run directory itself a link."
            )
        if real not in seen and path.is_dir():
            seen.add(real)
            pending += path.iterdir()


def _lock(handle: int, root: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no file locks on this system
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"Another efficientformer process is using {root}. Wait for it or choose another --run-dir."
        ) from error

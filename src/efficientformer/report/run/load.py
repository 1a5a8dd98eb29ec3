"""Load the records of a run directory; missing and unreadable ones become notes on the page."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from efficientformer.errors import RecordError
from efficientformer.formats import files as formats
from efficientformer.formats.network import MetricsLine
from efficientformer.reading import read_lines
from efficientformer.report.frame import Note
from efficientformer.run_dir import NetworkFiles, RunDir, is_name
from efficientformer.tasks.words import TaskWords, task_words


@dataclass(frozen=True)
class RecordKind:
    """A kind of record: its path in its directory, its content in words, the verb that writes it, and its type."""

    path: str
    content: str
    verb: str
    type: Any


def _of_run(name: str, content: str, verb: str) -> RecordKind:
    return RecordKind(getattr(RunDir(Path()), name).as_posix(), content, verb, formats.RUN_RECORDS[name])


def _of_network(name: str, content: str, verb: str) -> RecordKind:
    return RecordKind(getattr(NetworkFiles(Path()), name).as_posix(), content, verb, formats.NETWORK_RECORDS[name])


RECORDS = {
    "settings": _of_run("settings", "the settings of the run", "design"),
    "data": _of_run("data", "the description of the images", "design"),
    "table": _of_run("table", "the latency table", "table"),
    "supernet": _of_run("supernet_record", "the trained supernet's record", "supernet"),
    "trace": _of_run("trace", "the slimming trace", "slim"),
    "baselines": _of_run("baselines", "the baselines of slimming", "baselines"),
    "rank": _of_run("rank", "how the supernet ranks networks", "rank"),
    "verification": _of_run("verification", "the measurement of the exported files", "verify"),
    "published": _of_run("published", "the best published networks", "verify"),
    "result": _of_run("result", "the result", "design"),
}
NETWORK_RECORDS = {
    "architecture": _of_network("architecture", "the architecture", "slim"),
    "train": _of_network("train_record", "the training record", "train"),
    "evaluation": _of_network("evaluation", "the evaluation", "evaluate"),
    "examples": _of_network("examples", "the best and the worst images", "evaluate"),
    "export": _of_network("export_record", "the export record", "export"),
    "latency": _of_network("latency", "the latency of the exported file", "train"),
}
OF_DESIGN = ("table", "supernet", "trace", "verification", "result")


@dataclass(frozen=True)
class NetworkRun:
    """The records of one network: `slug` is the name of its folder, `budgets` are the promises for it."""

    slug: str
    budgets: tuple[dict[str, Any], ...]
    records: dict[str, Any]
    metrics: tuple[MetricsLine, ...]

    def get(self, name: str) -> Any:
        return self.records.get(name)


@dataclass(frozen=True)
class Run:
    """The records of a run directory, by their names in RECORDS; missing records have no entry.

    `unreadable` has the error message of each record that cannot be read, by path.
    """

    run_dir: Path
    records: dict[str, Any]
    supernet_metrics: tuple[MetricsLine, ...]
    networks: tuple[NetworkRun, ...]
    unreadable: dict[str, str]

    def get(self, name: str) -> Any:
        return self.records.get(name)

    @property
    def task(self) -> TaskWords:
        """The task of the networks, by the description of the images."""
        return task_words((self.get("data") or {}).get("task"))

    @property
    def is_training(self) -> bool:
        """Whether networks were trained without a search, as `train --init` does."""
        searched = any(self.get(name) is not None or RECORDS[name].path in self.unreadable for name in OF_DESIGN)
        return not searched and any(network.records for network in self.networks)

    def promises(self) -> list[dict[str, Any]]:
        """One row per budget, in the order given by the user, merged from slimming, verification and result."""
        rows: dict[str, dict[str, Any]] = {}
        found = (self.get("trace") or {}).get("budgets") or []
        sources = (
            # The score with the supernet's weights is not that of the trained network.
            [{name: value for name, value in row.items() if name != self.task.primary} for row in found],
            (self.get("verification") or {}).get("promises") or [],
            self.get("result") or [],
        )
        for source in sources:
            for row in source:
                rows.setdefault(str(row["budget"]), {}).update({k: v for k, v in row.items() if v is not None})
        for row in rows.values():
            # Records written before the percentile was a setting.
            row.setdefault("measured_ms", row.get("measured_p50_ms"))
        return list(rows.values())

    def note(self, name: str) -> Note:
        """Why the record `name` is not shown, and the command that writes it."""
        kind = RECORDS[name]
        text = self.unreadable.get(kind.path, f"{kind.path}, {kind.content}, has not been written yet.")
        return Note(text, self.command(kind.verb))

    def network_notes(self, name: str) -> list[Note]:
        """The same for a record of every network: one note for all networks without it."""
        kind = NETWORK_RECORDS[name]
        paths = [f"networks/{network.slug}/{kind.path}" for network in self.networks if network.get(name) is None]
        # What a training lacks is made by its own command, whose --init is not known here.
        command = "" if self.is_training else self.command(kind.verb)
        notes = [Note(self.unreadable[path], command) for path in paths if path in self.unreadable]
        missing = [path for path in paths if path not in self.unreadable]
        if missing:
            verb = "has" if len(missing) == 1 else "have"
            remedy = " Run the training's command again." if self.is_training else ""
            notes.append(Note(f"{', '.join(missing)} {verb} not been written yet.{remedy}", command))
        return notes

    def described(self, network: NetworkRun) -> dict[str, Any] | None:
        """A network's `architecture.json`, or the same from slimming trace and latency table if it is not written
        yet."""
        if network.get("architecture") is not None:
            return network.get("architecture")
        table = self.get("table") or {}
        found = next((row["architecture"] for row in network.budgets if row.get("architecture")), None)
        described = {"architecture": found, **{name: table.get(name) for name in ("resolution", "num_classes")}}
        return described if all(described.values()) else None

    def command(self, verb: str) -> str:
        return f"efficientformer {verb} --run-dir {shlex.quote(self.run_dir.name)}"


def load_run(run_dir: Path) -> Run:
    """Read every record of `run_dir`. Raises RecordError when it is not a directory or has no records."""
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise RecordError(f"{run_dir} is not a run directory. Give the --run-dir of an earlier command.")
    unreadable: dict[str, str] = {}
    records = _read(run_dir, RECORDS, "", unreadable)
    if not records and not unreadable:
        raise RecordError(f"{run_dir} has no records. Give the --run-dir of an earlier command.")
    log = RunDir(run_dir).supernet_metrics
    run = Run(run_dir, records, _lines(log, log.relative_to(run_dir).as_posix(), unreadable), (), unreadable)
    return replace(run, networks=_networks(run, unreadable))


def _networks(run: Run, unreadable: dict[str, str]) -> tuple[NetworkRun, ...]:
    """Networks in the order of the budgets, trained or not, then all other folders of networks."""
    try:
        promises = run.promises()
    except (AttributeError, KeyError, TypeError):
        promises = []  # a malformed record; the sections that show it have a note
    run_dir = RunDir(run.run_dir)
    asked = [str(row["slug"]) for row in promises if row.get("slug")]
    found = sorted(path.name for path in run_dir.networks.glob("*") if path.is_dir() and is_name(path.name))
    networks = []
    for slug in dict.fromkeys([*(slug for slug in asked if is_name(slug)), *found]):
        records = _read(run_dir.networks / slug, NETWORK_RECORDS, f"networks/{slug}/", unreadable)
        budgets = tuple(row for row in promises if row.get("slug") == slug)
        log = run_dir.network(slug).metrics
        metrics = _lines(log, f"networks/{slug}/{log.name}", unreadable)
        networks.append(NetworkRun(slug, budgets, records, metrics))
    return tuple(networks)


def _read(folder: Path, kinds: dict[str, RecordKind], prefix: str, unreadable: dict[str, str]) -> dict[str, Any]:
    records = {}
    for name, kind in kinds.items():
        path = folder / kind.path
        if path.exists():
            try:
                records[name] = formats.read_any(path, kind.type, remedy="")
            except RecordError as error:
                unreadable[prefix + kind.path] = str(error)
    return records


def _lines(path: Path, name: str, unreadable: dict[str, str]) -> tuple[MetricsLine, ...]:
    try:
        return tuple(read_lines(path, MetricsLine))
    except RecordError as error:
        unreadable[name] = str(error)
        return ()

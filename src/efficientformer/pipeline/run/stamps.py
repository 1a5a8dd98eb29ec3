"""Stamps: the settings and inputs of a phase's records, so that only phases with changes are run again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from efficientformer import __version__
from efficientformer.errors import RecordError
from efficientformer.formats.run import StampRecord
from efficientformer.pipeline.run.settings import Settings
from efficientformer.reading import read_record, shown_path
from efficientformer.records import digest, write_record
from efficientformer.run_dir import RunDir

MISSING = "missing"
"""Stands for the digest of an input that does not exist."""


@dataclass(frozen=True)
class Stamp:
    """The dependencies of a phase: `settings` by dotted name, `inputs` as digests."""

    phase: str
    settings: dict[str, Any]
    inputs: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return {"settings": self.settings, "inputs": self.inputs, "version": __version__}

    @property
    def fingerprint(self) -> str:
        return digest(self.to_json())


def run_stamped(
    run_dir: RunDir,
    stamp: Stamp,
    outputs: Sequence[Path],
    work: Callable[[str], None],
    announce: Callable[[str, str], None],
) -> bool:
    """Do `work(fingerprint)` unless the outputs exist with the same stamp; returns whether work was done.

    `announce(phase, text)` reports that the phase is up to date, or what changed since it was run. The stamp is written
    last: after a crash before that, the phase resumes.
    """
    if is_up_to_date(run_dir, stamp, outputs):
        announce(stamp.phase, "up to date")
        return False
    previous = read_stamp(run_dir.stamp(stamp.phase))
    reasons = stamp_changes(previous, stamp.to_json()) if previous is not None else []
    announce(stamp.phase, "again, because " + ", ".join(reasons) if reasons else "")
    run_dir.stamp(stamp.phase).unlink(missing_ok=True)
    run_dir.result.unlink(missing_ok=True)
    work(stamp.fingerprint)
    write_record(run_dir.stamp(stamp.phase), stamp.to_json())
    return True


def chosen(settings: Settings, *names: str) -> dict[str, Any]:
    """Values of the settings with these dotted names; the name of a group means all of its settings."""
    values: dict[str, Any] = {}
    for name in names:
        value = attrgetter(name)(settings)
        if hasattr(value, "model_dump"):
            values |= {f"{name}.{key}": item for key, item in value.model_dump(mode="json").items()}
        else:
            values[name] = list(value) if isinstance(value, tuple) else value
    return values


def is_up_to_date(run_dir: RunDir, stamp: Stamp, outputs: Sequence[Path]) -> bool:
    return read_stamp(run_dir.stamp(stamp.phase)) == stamp.to_json() and all(path.exists() for path in outputs)


def read_stamp(path: Path) -> dict[str, Any] | None:
    """The stamp of a finished phase, or None. One that cannot be read has the phase done again."""
    try:
        return dict(read_record(path, StampRecord))
    except RecordError:
        return None


def stamp_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The differences of two stamps of a phase, as texts."""
    changes = []
    for name, value in now["settings"].items():
        old = before["settings"].get(name)
        if old != value:
            changes.append(
                f"{name} changed"
                if isinstance(value, dict | list)
                else f"{name} changed from {shown_path(str(old))} to {shown_path(str(value))}"
            )
    for name, value in now["inputs"].items():
        if before["inputs"].get(name) != value:
            changes.append(f"{name} is missing" if value == MISSING else f"{name} changed")
    if before["version"] != now["version"]:
        changes.append(f"the program changed from version {before['version']} to {now['version']}")
    return changes

"""Stamps: the settings and inputs of a phase's records, so that only phases with changes are run again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from efficientformer import __version__
from efficientformer.errors import RecordError, UsageError
from efficientformer.formats.run import StampRecord
from efficientformer.pipeline.run.settings import FINER_DEFAULTS, Settings
from efficientformer.pipeline.settings.training import BY_MACHINE
from efficientformer.reading import read_record, shown_path
from efficientformer.records import digest, file_digest, write_record
from efficientformer.run_dir import RunDir

MISSING = "missing"
"""Stands for the digest of an input that does not exist."""
NOT_TAKEN = "not taken over"
"""Stands for the digest of what the run used before: another run's supernet, a teacher, unlabelled images."""
_LEFT_OUT = {**FINER_DEFAULTS, **BY_MACHINE}
"""Settings that stamps leave out at these values."""


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
    last, with digests of the outputs: after a crash before that, the phase resumes. Raises UsageError for an output
    that was changed since, by hand or by another program: it would be lost.
    """
    previous = read_stamp(run_dir.stamp(stamp.phase))
    if previous is not None and (problem := replaced_output(run_dir, previous, outputs)):
        raise UsageError(f"{problem}. Restore it, or delete it to have it made again.")
    reasons = stamp_changes(previous, stamp.to_json()) if previous is not None else []
    if previous is not None and not reasons and all(path.exists() for path in outputs):
        announce(stamp.phase, "up to date")
        return False
    announce(stamp.phase, "again, because " + ", ".join(reasons) if reasons else "")
    run_dir.stamp(stamp.phase).unlink(missing_ok=True)
    run_dir.result.unlink(missing_ok=True)
    work(stamp.fingerprint)
    made = {_name(run_dir, path): file_digest(path) for path in outputs}
    write_record(run_dir.stamp(stamp.phase), {**stamp.to_json(), "outputs": made})
    return True


def replaced_output(run_dir: RunDir, made: Mapping[str, Any], outputs: Sequence[Path]) -> str | None:
    """In words, the first output that exists and is not the file that the phase of the stamp `made` wrote."""
    known = made.get("outputs", {})
    for path in outputs:
        expected = known.get(_name(run_dir, path))
        if path.exists() and expected is not None and not (path.is_file() and file_digest(path) == expected):
            return f"{path} was changed or replaced since it was made"
    return None


def accept_output(run_dir: RunDir, phase: str, path: Path) -> None:
    """Have a file that the program wrote outside of the phase count as the phase's own."""
    made = read_stamp(run_dir.stamp(phase))
    if made is not None:
        outputs = made.get("outputs", {}) | {_name(run_dir, path): file_digest(path)}
        write_record(run_dir.stamp(phase), {**made, "outputs": outputs})


def _name(run_dir: RunDir, path: Path) -> str:
    return path.relative_to(run_dir.root).as_posix()


def chosen(settings: Settings, *names: str) -> dict[str, Any]:
    """Values of the settings with these dotted names; the name of a group means all of its settings.

    Those of `FINER` are left out at their defaults: what was made before there were such settings stays up to date. So
    are those of `BY_MACHINE` where the machine decides.
    """
    values: dict[str, Any] = {}
    for name in names:
        value = attrgetter(name)(settings)
        if hasattr(value, "model_dump"):
            values |= {f"{name}.{key}": item for key, item in value.model_dump(mode="json").items()}
        else:
            values[name] = list(value) if isinstance(value, tuple) else value
    return {name: value for name, value in values.items() if (name, value) not in _LEFT_OUT.items()}


def is_up_to_date(run_dir: RunDir, stamp: Stamp, outputs: Sequence[Path]) -> bool:
    made = read_stamp(run_dir.stamp(stamp.phase))
    if made is None or stamp_changes(made, stamp.to_json()) or not all(path.exists() for path in outputs):
        return False
    return replaced_output(run_dir, made, outputs) is None


def read_stamp(path: Path) -> dict[str, Any] | None:
    """The stamp of a finished phase, or None. One that cannot be read has the phase done again."""
    try:
        return dict(read_record(path, StampRecord))
    except RecordError:
        return None


def stamp_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The differences of two stamps of a phase, as texts. What only the former has makes none, since earlier versions
    stamped settings without effect too, and a machine that decides accepts what others made; but one of `FINER` has its
    default now."""
    changes = []
    left_out = {name: value for name, value in FINER_DEFAULTS.items() if name in before["settings"]}
    for name, value in {**left_out, **now["settings"]}.items():
        old = before["settings"].get(name, _LEFT_OUT.get(name))
        if old != value:
            changes.append(
                f"{name} changed"
                if isinstance(value, dict | list)
                else f"{name} changed from {shown_path(str(old))} to {shown_path(str(value))}"
            )
    for name, value in now["inputs"].items():
        old = before["inputs"].get(name)
        if old != value:
            gone = {MISSING: "is missing", NOT_TAKEN: "is no longer used"}
            changes.append(f"{name} {gone.get(value) or f'changed{_values(old, value)}'}")
    if before["version"] != now["version"]:
        changes.append(f"the program changed from version {before['version']} to {now['version']}")
    return changes


def _values(old: str | None, new: str) -> str:
    """The values of an input that is a number and not a digest."""
    return f" from {old} to {new}" if old is not None and old.isdigit() and new.isdigit() else ""

"""Names of records: `records/<study>/<subject>-<machine>-<yyyymmdd>[-<condition>...].json`.

The name states the condition, so a folder listing answers "which machine, when, under what". Machine and date come from
the record's provenance; short names of machines are in `machines.json`.
"""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efficientformer.provenance import FINGERPRINT
from efficientformer.reading import read_record
from efficientformer.records import write_text

BENCHMARKS = Path(__file__).parents[1]
RECORDS, MACHINES = BENCHMARKS / "records", BENCHMARKS / "machines.json"
NAME = re.compile(r"(?P<subject>[a-z0-9_]+)-(?P<machine>[a-z][a-z0-9-]*)-(?P<date>\d{8})(?P<conditions>(-[a-z0-9]+)*)")
LINE = 160


@dataclass(frozen=True)
class Name:
    """The parts of a record's path."""

    study: str
    subject: str
    machine: str
    date: str
    conditions: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        words = (self.subject, self.machine, self.date, *self.conditions)
        return RECORDS / self.study / f"{'-'.join(words)}.json"


def parse_name(path: Path) -> Name:
    """Inverse of `Name.path`. Raises ValueError for a file that is not named like a record."""
    match = NAME.fullmatch(path.stem)
    if match is None or path.suffix != ".json" or path.parent.parent != RECORDS:
        raise ValueError(
            f"{path} is not named <subject>-<machine>-<yyyymmdd>[-<condition>...].json in a study's folder."
        )
    subject, machine, date, conditions = match.group("subject", "machine", "date", "conditions")
    return Name(path.parent.name, subject, machine, date, tuple(conditions.split("-")[1:]))


def all_records(study: str) -> list[tuple[Name, Any]]:
    """Every kept record of a study with its name, oldest first."""
    named = sorted((read_record(path, Any)["provenance"]["time"], path) for path in (RECORDS / study).glob("*.json"))
    return [(parse_name(path), read_record(path, Any)) for _, path in named]


def newest(study: str, subject: str, *conditions: str) -> Path:
    """The newest record of a subject under exactly these conditions. Raises SystemExit if there is none."""
    found = [name for name, _ in all_records(study) if (name.subject, name.conditions) == (subject, conditions)]
    if not found:
        raise SystemExit(f"There is no record of {subject} {' '.join(conditions)} in {RECORDS / study}.")
    return found[-1].path


def machines() -> dict[str, dict[str, Any]]:
    return read_record(MACHINES, Any)


def machine_name(machine: Mapping[str, Any]) -> str:
    """The short name of a machine; one that `machines.json` does not have is named after its CPU."""
    for name, known in machines().items():
        if all(known[key] == machine.get(key) for key in FINGERPRINT):
            return name
    return slug(f"{machine.get('cpu', 'unknown')} {machine.get('cores', 1)}c", "-")


def slug(text: str, joint: str = "_") -> str:
    """Lower-case letters and digits, everything else a joint; trademarks and fillers left out."""
    text = re.sub(r"\(r\)|\(tm\)|\bprocessor\b|\bcpu\b|@.*?ghz", " ", text.lower())
    return joint.join(re.findall(r"[a-z0-9]+", text))


def record_name(study: str, subject: str, provenance: Mapping[str, Any], *conditions: str) -> Name:
    """The name of a record of this provenance; empty conditions are left out."""
    date = provenance["time"][:10].replace("-", "")
    return Name(study, subject, machine_name(provenance["machine"]), date, tuple(filter(None, conditions)))


def keep(study: str, subject: str, record: Mapping[str, Any], *conditions: str) -> Path:
    """Write a record under its name and print its path, with the entry to add for a machine without a short name."""
    name = record_name(study, subject, record["provenance"], *conditions)
    write_text(name.path, to_text(record) + "\n")
    sys.stdout.write(f"Record: {name.path}\n")
    if name.machine not in machines():
        fingerprint = {key: record["provenance"]["machine"].get(key) for key in FINGERPRINT}
        entry = json.dumps({"title": "what to call it", **fingerprint}, ensure_ascii=False)
        sys.stdout.write(f'For a shorter name, add it to {MACHINES} and rename the record: "short-name": {entry}\n')
    return name.path


def to_text(content: Any, indent: int = 0) -> str:
    """JSON with every container on one line that fits there: records are read by people too. NaN is refused."""
    line = json.dumps(content, ensure_ascii=False, allow_nan=False)
    if not isinstance(content, dict | list) or not content or indent + len(line) <= LINE:
        return line
    inner, outer = " " * (indent + 1), " " * indent
    if isinstance(content, dict):
        rows = [
            f"{json.dumps(str(key), ensure_ascii=False)}: {to_text(row, indent + 1)}" for key, row in content.items()
        ]
    elif not any(isinstance(row, dict | list) for row in content):
        return line
    else:
        rows = [to_text(row, indent + 1) for row in content]
    opening, closing = "{}" if isinstance(content, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(rows) + f"\n{outer}{closing}"

"""The evidence of an answer: the runs of a study, and figures as medians and ranges over them, never the best run."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from efficientformer.reading import read_record
from studies.naming import BENCHMARKS, Name, all_records, machines

RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "pytorch": "PyTorch eager", "cuda": "CUDA graph"}
Table = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Question:
    """One section of README.md; `figures` are name and alternative text, `entries` are headings of LOG.md."""

    title: str
    answer: str
    scripts: Sequence[str]
    entries: Sequence[str]
    figures: Sequence[tuple[str, str]] = ()
    table: Table = ()


@dataclass(frozen=True)
class Run:
    """A run of a study: a kept record, or the figures of one that a newer run replaced."""

    subject: str
    machine: str
    conditions: tuple[str, ...]
    found: Any


def runs(study: str, subject: str, *conditions: str) -> list[Run]:
    """Every run of a subject under exactly these conditions, those whose records are in git's history included."""
    earlier = read_record(BENCHMARKS / "earlier_runs.json", Any).get(study, [])
    every = [Run(row["subject"], row["machine"], tuple(row["conditions"]), row) for row in earlier]
    every += [Run(name.subject, name.machine, name.conditions, found) for name, found in all_records(study)]
    return [run for run in every if (run.subject, run.conditions) == (subject, conditions)]


def kept(study: str, subject: str, machine: str | None = None, *conditions: str) -> list[tuple[Name, Any]]:
    return [
        (name, found)
        for name, found in all_records(study)
        if (name.subject, name.conditions) == (subject, conditions) and machine in (None, name.machine)
    ]


def marks() -> dict[str, int]:
    """The number of each machine's mark in figures."""
    return {name: number for number, name in enumerate(machines())}


def short_title(machine: str) -> str:
    return machines().get(machine, {}).get("short", machine)


def legend(names: Iterable[str]) -> list[tuple[int, str]]:
    used = set(names)
    return [(mark, short_title(name)) for name, mark in marks().items() if name in used]


def span(values: Sequence[float], digits: int = 1, unit: str = " %") -> str:
    """Range and median: `1.2 to 2.8 % (median 2.1)`; one value stands alone, and two need no median."""
    low, high = (f"{end:.{digits}f}" for end in (min(values), max(values)))
    bounds = f"{low}{unit}" if low == high else f"{low} to {high}{unit}"
    return f"{bounds} (median {statistics.median(values):.{digits}f})" if len(values) > 2 else bounds


def counted(found: Sequence[Run]) -> str:
    num_machines = len({run.machine for run in found})
    machines_text = f"{num_machines} machines" if num_machines > 1 else short_title(found[0].machine)
    return f"{len(found)} runs on {machines_text}" if len(found) > 1 else f"1 run on {machines_text}"


def errors(found: Sequence[Run], part: str = "unseen") -> list[float]:
    return [run.found[part]["error"]["mean_percent"] for run in found]


def held(values: Sequence[float], bar: float) -> str:
    return f"{sum(value <= bar for value in values)} of {len(values)}"

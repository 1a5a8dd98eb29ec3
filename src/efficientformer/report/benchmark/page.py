"""The page of a benchmark, from `benchmark.json` alone: findings, accuracy against latency, ratios, table."""

from pathlib import Path
from typing import Any

from efficientformer.errors import RecordError
from efficientformer.formats.comparison import BenchmarkRecord
from efficientformer.reading import checked, read_record, shown_path
from efficientformer.records import write_text
from efficientformer.report import wording
from efficientformer.report.benchmark import figures as benchmark_figures
from efficientformer.report.benchmark.findings import findings, headline, model
from efficientformer.report.benchmark.published import published_figures
from efficientformer.report.frame import Section, page_environment, render_sections
from efficientformer.tasks.words import TaskWords, task_words

RECORD_NAME, PAGE_NAME = "benchmark.json", "benchmark.html"
FORMAT = 1
REMEDY = "Run 'efficientformer benchmark' again."


def render_benchmark(folder: Path) -> Path:
    """Write `benchmark.html` next to the `benchmark.json` of a folder and return its path. The page works offline.

    Raises RecordError for a record that is missing or is not that of a benchmark.
    """
    path = folder / PAGE_NAME
    write_text(path, render_page(load_benchmark(folder / RECORD_NAME)))
    return path


def load_benchmark(path: Path) -> dict[str, Any]:
    """Read the record. Raises RecordError if it is missing, of another format, or not that of a benchmark."""
    record: Any = read_record(path, dict, remedy=REMEDY)
    found = record.get("format")
    if isinstance(found, int) and found != FORMAT:
        raise RecordError(f"{shown_path(path)} has format {found}; this version reads format {FORMAT}. {REMEDY}")
    try:
        return dict(checked(record, BenchmarkRecord))
    except ValueError as error:
        raise RecordError(f"{shown_path(path)} is not the record of a benchmark: {error}. {REMEDY}") from error


def render_page(record: dict[str, Any]) -> str:
    """The page of a record. Raises RecordError when the record does not have the expected form."""
    from jinja2 import TemplateError

    environment = page_environment()

    def section(name: str, title: str, **content: Any) -> Section:
        body = environment.get_template(f"benchmark/{name}.html.j2").render(record=record, **content)
        return Section(name, title, body, ())

    try:
        sections = [
            section(
                "headline", "Findings", sentence=headline(record), findings=findings(record), setting=_setting(record)
            ),
            section("plane", "Latency and accuracy", figures=benchmark_figures.planes(record)),
            section(
                "ratios",
                "Ratios",
                figure=benchmark_figures.ratios(record),
                reference=model(record, record["reference"])["title"],
            ),
            section(
                "networks",
                "Networks",
                words=_words(record),
                rows=_rows(record),
                titles=_titles(record),
                tolerances=_tolerances(record),
            ),
            section("published", "Published figures", **published_figures(record)),
            section("missing", "Missing results", problems=_problems(record), missing=_missing(record)),
            section("machine", "Machine, versions, sources", facts=_facts(record)),
        ]
    except (AttributeError, LookupError, TypeError, ValueError, StopIteration, TemplateError) as error:
        raise RecordError(
            f"The record of the benchmark does not have the expected form ({error!r}). {REMEDY}"
        ) from error
    return render_sections(environment, "benchmark.html.j2", [section for section in sections if section.body.strip()])


def _setting(record: dict[str, Any]) -> dict[str, Any]:
    results = [result for row in record["models"] for result in row["results"] if result["p50_ms"] is not None]
    task = record.get("task")
    return {
        "task": task and {**task, "labels": task_words(task["name"]).labels},
        "runtimes": wording.runtime_list(record["runtimes"]),
        "rounds": max((len(result["samples_ms"]) for result in results), default=0),
        "calm": all(result["calm"] for result in results),
        "cpu": record["provenance"]["machine"].get("cpu"),
        "time": str(record["provenance"].get("time") or "")[:10],
        "num_measured": sum(any(result["p50_ms"] is not None for result in row["results"]) for row in record["models"]),
    }


def _words(record: dict[str, Any]) -> TaskWords | None:
    """The task of models that are compared; None of classifiers."""
    return None if record.get("task") is None else task_words(record["task"]["name"])


def _titles(record: dict[str, Any]) -> list[str]:
    return [wording.runtime_title(runtime["name"]) for runtime in record["runtimes"]]


def _rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    score = "top1" if record.get("task") is None else "score"
    return [
        {
            **row,
            "is_reference": row["name"] == record["reference"],
            "size": _size(row["resolution"]),
            "shown_score": row.get(score),
        }
        for row in record["models"]
    ]


def _tolerances(record: dict[str, Any]) -> str:
    limits = sorted({result["tolerance"] for row in record["models"] for result in row["results"]})
    first, *others = [f"{limit:g}" for limit in limits]
    return f"{first} (quantized files: {wording.join(others)})" if others else first


def _size(resolution: list[int] | None) -> str:
    return wording.ABSENT if resolution is None else wording.input_size(resolution)


def _facts(record: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    origin = record["provenance"]
    machine = [(wording.FACTS.get(name) or str(name), str(value)) for name, value in origin["machine"].items()]
    return {
        "Machine": [*machine, ("load", str(origin.get("load"))), ("time", str(origin.get("time")))],
        "Versions": [(name, str(value)) for name, value in origin["versions"].items()],
    }


def _problems(record: dict[str, Any]) -> list[dict[str, str]]:
    """Every problem once, with its runtimes."""
    runtimes: dict[tuple[str, str], list[str]] = {}
    for row in record["models"]:
        for result in row["results"]:
            if result["problem"]:
                name = wording.runtime_title(result["runtime"])
                runtimes.setdefault((row["title"], result["problem"]), []).append(name)
    return [
        {"network": network, "problem": problem, "runtimes": wording.join(names)}
        for (network, problem), names in runtimes.items()
    ]


def _missing(record: dict[str, Any]) -> dict[str, str]:
    return (record["suite"] or {}).get("missing") or {}

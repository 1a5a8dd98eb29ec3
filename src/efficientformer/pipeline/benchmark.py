"""The verb `benchmark`: any networks on any runtimes, measured interleaved, as a record and a page in one folder.

The folder keeps exported files and finished rounds, so that the same request resumes after an interruption. A finished
request deletes its rounds, and the next one measures again.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from efficientformer.analysis.comparison.compared_network import check_file
from efficientformer.analysis.comparison.network_source import NetworkSource, TaskModel, find_sources
from efficientformer.analysis.comparison.published import dense_sources
from efficientformer.analysis.comparison.published import sources as published_sources
from efficientformer.analysis.comparison.record import (
    agreements,
    failed_row,
    network_rows,
    paper_comparisons,
    task_facts,
)
from efficientformer.analysis.comparison.suites import SUITES, Suite, find_suite, known_title
from efficientformer.analysis.comparison.task_models import (
    NUM_CLASSES,
    RESOLUTION,
    head_of,
    refuse_task_weights,
    task_sources,
)
from efficientformer.arch.resolution import Resolution
from efficientformer.errors import UsageError
from efficientformer.latency.clock import check_clock
from efficientformer.latency.devices import open_device, runs_here
from efficientformer.latency.timing.measure_networks import check_rounds
from efficientformer.paths import usable_path
from efficientformer.pipeline.comparison import check_memory, compare_networks, prepare_networks, rounds_path
from efficientformer.pipeline.out_of_date import out_of_date_file
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import with_given
from efficientformer.pipeline.settings.benchmark import OUT, BenchmarkSettings
from efficientformer.provenance import provenance
from efficientformer.records import write_record
from efficientformer.report.benchmark.page import FORMAT, RECORD_NAME, render_benchmark
from efficientformer.run_dir import RunDir


def benchmark(
    *models: str, settings: BenchmarkSettings | None = None, out: Path | str = OUT, **given: Any
) -> dict[str, Any]:
    """Measure any networks on any runtimes in the same rounds; returns the record.

    models: names of ours or timm's, .onnx files, run directories; those of a suite come first.
    settings, given: `BenchmarkSettings`, or its fields by name, which win.
    out: folder of benchmark.json, benchmark.html and the exported networks.

    Raises UsageError for a request that cannot be carried out, LatencyError when nothing can be measured.
    """
    settings, out, console = with_given(BenchmarkSettings, settings, given), usable_path(out, "--out"), RunConsole()
    check_rounds(settings.rounds)
    check_clock(settings.latency_clock, settings.threads)
    console.warn_of_cores({"threads": settings.threads if runs_here(settings.device) else 1})
    model = _task_model(settings)
    sources = _sources(models, settings, model)
    reference = _reference(settings, sources)
    for source in sources:
        for row in out_of_date_file(Path(source.target)) if source.kind in ("onnx", "weights") else ():
            console.warn(row.text)
        if source.kind == "onnx":
            check_file(Path(source.target), settings.resolution)
    runtimes = [open_device(settings, name, settings.threads) for name in dict.fromkeys(settings.runtime)]
    with RunDir(out).locked():
        prepared = prepare_networks(
            [(source, _resolution(source, settings)) for source in sources], out / "networks", console
        )
        check_memory(prepared.networks, [runtime.name for runtime in runtimes], settings.device)
        comparison = compare_networks(
            prepared.networks,
            runtimes,
            console,
            clock=settings.latency_clock,
            rounds=settings.rounds,
            partial_path=rounds_path(out, prepared.networks),
        )
        names = [runtime.name for runtime in runtimes]
        rows = network_rows(prepared.networks, names, comparison, reference)
        rows += [failed_row(source, names, reason) for source, reason in prepared.failed]
        order = [source.name for source in sources]
        suite = _suite(settings)
        record = {
            "format": FORMAT,
            "suite": suite and {"name": suite.name, "description": suite.description, "missing": suite.missing},
            "reference": reference,
            "device": settings.device,
            "runtimes": [runtime.describe() for runtime in runtimes],
            "threads": settings.threads,
            "clock": settings.latency_clock,
            "rounds": settings.rounds,
            "models": sorted(rows, key=lambda row: order.index(row["name"])),
            "comparisons": paper_comparisons(prepared.networks, names, comparison),
            "agreements": agreements(prepared.networks, names, comparison),
            "sources": published_sources() if model is None else dense_sources(),
            **({} if model is None else task_facts(model)),
            "provenance": provenance(runtimes[0].machine()),
        }
        write_record(out / RECORD_NAME, record)
        render_benchmark(out)
        for path in out.glob("rounds-*.partial.jsonl"):
            path.unlink()
    return record


def _task_model(settings: BenchmarkSettings) -> TaskModel | None:
    """The head of networks by name; None for a comparison of classifiers."""
    sizes = settings.head.model_dump(exclude_none=True)
    if settings.task is None:
        if sizes:
            raise UsageError("--head is that of task models: say which with --task semantic or --task detection.")
        return None
    num_classes = sizes.pop("num_classes", NUM_CLASSES[settings.task])
    if settings.task == "semantic" and "depth" in sizes:
        raise UsageError("--head.depth is that of boxes' branches: leave it out with --task semantic.")
    return TaskModel(settings.task, head_of(settings.task, sizes), num_classes)


def _resolution(source: NetworkSource, settings: BenchmarkSettings) -> Resolution | None:
    """The input size that was asked for; None is the network's own."""
    is_new = source.kind == "zoo" and source.model is not None
    return settings.resolution or (RESOLUTION if is_new else None)


def _suite(settings: BenchmarkSettings) -> Suite | None:
    return find_suite(settings.suite, of_task_models=settings.task is not None) if settings.suite else None


def _sources(models: Sequence[str], settings: BenchmarkSettings, model: TaskModel | None) -> list[NetworkSource]:
    if not models and settings.suite is None:
        raise UsageError(f"Name networks to compare, or a --suite ({' or '.join(SUITES)}).")
    suite = _suite(settings)
    found = [
        replace(source, title=known_title(source.name) or source.title)
        for source in find_sources([*(suite.titles if suite else {}), *models])
    ]
    if model is None:
        refuse_task_weights(found)
        return found
    return task_sources(found, model)


def _reference(settings: BenchmarkSettings, sources: Sequence[NetworkSource]) -> str:
    """The network that ratios are relative to: the one asked for, else the suite's, else the first."""
    if settings.reference is None:
        suite = _suite(settings)
        return suite.reference if suite else sources[0].name
    for source in sources:
        if settings.reference in (source.name, source.title, source.target, source.name.partition(".")[0]):
            return source.name
    names = ", ".join(source.name for source in sources)
    raise UsageError(f"--reference {settings.reference} is not among the networks: {names}.")

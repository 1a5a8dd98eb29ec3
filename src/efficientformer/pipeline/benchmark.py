"""The verb `benchmark`: any networks on any runtimes, measured interleaved, as a record and a page in one folder.

The folder keeps exported files and finished rounds, so that the same request resumes after an interruption. A finished
request deletes its rounds, and the next one measures again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from efficientformer.analysis.comparison.compare import compare
from efficientformer.analysis.comparison.compared_network import ComparedNetwork, check_file, prepare_network
from efficientformer.analysis.comparison.network_source import NetworkSource, find_sources
from efficientformer.analysis.comparison.published import sources as published_sources
from efficientformer.analysis.comparison.record import (
    agreements,
    failed_row,
    network_rows,
    paper_comparisons,
)
from efficientformer.analysis.comparison.suites import SUITES, find_suite, known_title
from efficientformer.errors import LatencyError, UsageError
from efficientformer.latency.clock import check_clock
from efficientformer.latency.devices import LOCAL, open_device, runs_here
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.timing.measure_networks import check_rounds
from efficientformer.paths import usable_path
from efficientformer.pipeline.benchmark_settings import OUT, BenchmarkSettings
from efficientformer.pipeline.out_of_date import out_of_date_file
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import with_given
from efficientformer.provenance import provenance
from efficientformer.records import digest, file_digest, write_record
from efficientformer.report.benchmark.page import FORMAT, RECORD_NAME, render_benchmark
from efficientformer.run_dir import RunDir

COPIES = 3
"""Memory that a runtime needs for a network, in sizes of its file: 2.2 measured, for weights read and repacked."""
GIB = 2**30
MEMORY_SHARE = 0.8


@dataclass
class _Prepared:
    networks: list[ComparedNetwork] = field(default_factory=list)
    failed: list[tuple[NetworkSource, str]] = field(default_factory=list)


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
    sources = _sources(models, settings)
    reference = _reference(settings, sources)
    for source in sources:
        for row in out_of_date_file(Path(source.target)) if source.kind in ("onnx", "weights") else ():
            console.warn(row.text)
        if source.kind == "onnx":
            check_file(Path(source.target), settings.resolution)
    runtimes = [open_device(settings, name, settings.threads) for name in dict.fromkeys(settings.runtime)]
    with RunDir(out).locked():
        prepared = _prepare(sources, settings, out / "networks", console)
        _check_memory(prepared.networks, [runtime.name for runtime in runtimes], settings.device)
        partial_path = _partial_path(out, prepared.networks)
        comparison = _compare(prepared.networks, runtimes, settings, partial_path, console)
        names = [runtime.name for runtime in runtimes]
        rows = network_rows(prepared.networks, names, comparison, reference)
        rows += [failed_row(source, names, reason) for source, reason in prepared.failed]
        order = [source.name for source in sources]
        suite = find_suite(settings.suite) if settings.suite else None
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
            "sources": published_sources(),
            "provenance": provenance(runtimes[0].machine()),
        }
        write_record(out / RECORD_NAME, record)
        render_benchmark(out)
        for path in out.glob("rounds-*.partial.jsonl"):
            path.unlink()
    return record


def _sources(models: Sequence[str], settings: BenchmarkSettings) -> list[NetworkSource]:
    if not models and settings.suite is None:
        raise UsageError(f"Name networks to compare, or a --suite ({' or '.join(SUITES)}).")
    names = find_suite(settings.suite).titles if settings.suite else {}
    return [
        replace(source, title=known_title(source.name) or source.title) for source in find_sources([*names, *models])
    ]


def _reference(settings: BenchmarkSettings, sources: Sequence[NetworkSource]) -> str:
    """The network that ratios are relative to: the one asked for, else the suite's, else the first."""
    if settings.reference is None:
        return find_suite(settings.suite).reference if settings.suite else sources[0].name
    for source in sources:
        if settings.reference in (source.name, source.title, source.target, source.name.partition(".")[0]):
            return source.name
    names = ", ".join(source.name for source in sources)
    raise UsageError(f"--reference {settings.reference} is not among the networks: {names}.")


def _prepare(
    sources: Sequence[NetworkSource], settings: BenchmarkSettings, folder: Path, console: RunConsole
) -> _Prepared:
    """Build and export the networks that the folder lacks. One that cannot be built is listed with the reason."""
    prepared = _Prepared()
    console.phase("export", f"{len(sources)} networks in deploy form, to {folder}")
    with console.progress("exporting") as progress:
        for index, source in enumerate(sources):
            progress(index, len(sources), source.title)
            try:
                prepared.networks.append(prepare_network(source, settings.resolution, folder))
            except LatencyError as error:
                prepared.failed.append((source, str(error)))
                console.warn(f"{source.title}: {error}")
    if not prepared.networks:
        raise LatencyError("None of the networks can be built. See the warnings above.")
    return prepared


def _check_memory(networks: Sequence[ComparedNetwork], runtimes: Sequence[str], device: str) -> None:
    """Raises UsageError if the networks do not fit into memory at once, as interleaved rounds need them."""
    available = _available_memory()
    if available is None or device != LOCAL:
        return
    needed = COPIES * len(runtimes) * sum(network.path.stat().st_size for network in networks)
    if needed > MEMORY_SHARE * available:
        raise UsageError(
            f"{len(networks)} networks on {', '.join(runtimes)} may need {needed / GIB:.1f} GiB at once and "
            f"{available / GIB:.1f} GiB are free. Compare fewer networks, or one runtime at a time."
        )


def _available_memory() -> int | None:
    """Bytes of memory that are available; None on systems without /proc/meminfo."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _partial_path(out: Path, networks: Sequence[ComparedNetwork]) -> Path:
    """File of the finished rounds; other networks, and other files of the same names, have another."""
    about = [[network.source.name, file_digest(network.path)] for network in networks]
    return out / f"rounds-{digest(about)[:12]}.partial.jsonl"


def _compare(
    networks: Sequence[ComparedNetwork],
    runtimes: Sequence[Runtime],
    settings: BenchmarkSettings,
    partial_path: Path,
    console: RunConsole,
):
    console.phase("measure", f"{len(networks)} networks on {', '.join(runtime.name for runtime in runtimes)}")
    with console.progress("opening") as opening, console.progress("measuring") as measuring:
        comparison = compare(
            networks,
            runtimes,
            clock=settings.latency_clock,
            rounds=settings.rounds,
            partial_path=partial_path,
            opening=opening,
            measuring=measuring,
        )
    for (network, runtime), reason in comparison.problems.items():
        console.warn(f"{network} on {runtime}: {reason}")
    return comparison

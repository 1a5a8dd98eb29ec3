"""The verb `analyze`: experiments and hotspots of one device, as a record and a page in one folder."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from efficientformer.analysis.hotspots.hotspots import measure_hotspots
from efficientformer.analysis.observations.choices import summarize_choices
from efficientformer.analysis.observations.conclusions import advise, summarize_claims
from efficientformer.analysis.observations.measure import measure_observations
from efficientformer.analysis.observations.plan import Observation, plan_observations
from efficientformer.analysis.observations.plan_choices import plan_choices
from efficientformer.errors import LatencyError, UsageError
from efficientformer.latency.clock import check_clock
from efficientformer.latency.devices import open_device, runs_here
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.timing.measure_networks import check_rounds
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import with_given
from efficientformer.pipeline.settings.analyze import OUT, AnalysisSettings
from efficientformer.provenance import provenance
from efficientformer.records import write_record
from efficientformer.report.analysis.page import FORMAT, RECORD_NAME, render_analysis
from efficientformer.run_dir import RunDir

PARTIAL_DIR = "rounds"


def analyze(settings: AnalysisSettings | None = None, /, *, out: Path | str = OUT, **given: Any) -> dict[str, Any]:
    """Test the paper's four observations about latency (section 3) on a device, and time the choices of a space;
    returns the record.

    settings, given: `AnalysisSettings`, or its fields by name, which win.
    out: folder of analysis.json and analysis.html.

    After an interruption the same request resumes from the finished rounds. Raises UsageError for a request that cannot
    be carried out, LatencyError for a measurement that fails.
    """
    request, out, console = with_given(AnalysisSettings, settings, given), Path(out), RunConsole()
    check_clock(request.latency_clock, request.threads)
    console.warn_of_cores({"threads": request.threads if runs_here(request.device) else 1})
    check_rounds(request.rounds)  # now, since preparing networks takes minutes
    if len(set(request.runtime)) < len(request.runtime) or not request.runtime:
        raise UsageError("Name each runtime once, and at least one: --runtime onnxruntime --runtime openvino.")
    observations = _planned(request)
    runtimes = [open_device(request, name, request.threads) for name in request.runtime]
    with RunDir(out).locked():
        record = _measure(observations, runtimes, request, out / PARTIAL_DIR, console)
        write_record(out / RECORD_NAME, record)
        _forget_rounds(out / PARTIAL_DIR)
        for row in record["failures"]:
            console.warn(f"{row['runtime']} cannot run {row['candidate']}: {row['reason']}")
        render_analysis(out)
    return record


def _planned(request: AnalysisSettings) -> list[Observation]:
    """The named observations and choices; all of them if none is named. Raises UsageError for networks that no
    observation would use."""
    is_all = not request.observation and not request.choice
    observations = []
    if request.observation or is_all:
        observations += plan_observations(request.resolution, request.network, request.observation)
    elif "network" in request.model_fields_set:
        raise UsageError(
            "--network names a network of the observations, and --choice alone tests none of them. Leave --network "
            "out, or name an observation as well: --observation 4."
        )
    if request.choice or is_all:
        observations.append(plan_choices(request.resolution, request.choice))
    return observations


def _measure(
    observations: Sequence[Observation],
    runtimes: Sequence[Runtime],
    request: AnalysisSettings,
    partial_dir: Path,
    console: RunConsole,
) -> dict[str, Any]:
    titles = ", ".join(observation.title for observation in observations)
    console.phase("analyze", f"{titles} on {', '.join(request.runtime)}")
    with console.progress("measuring") as progress:
        findings = measure_observations(
            observations,
            runtimes,
            clock=request.latency_clock,
            rounds=request.rounds,
            partial_dir=partial_dir,
            progress=progress,
        )
    hotspots = _hotspots(runtimes, request, findings.failures, console) if request.hotspots else []
    return {
        "format": FORMAT,
        "resolution": request.resolution,
        "device": request.device,
        "threads": request.threads,
        "clock": request.latency_clock,
        "rounds": request.rounds,
        "runtimes": [runtime.describe() for runtime in runtimes],
        "claims": summarize_claims(findings.experiments, findings.differences),
        "advice": advise(findings.switches),
        "choices": summarize_choices(findings.trials),
        **asdict(findings),
        "hotspots": hotspots,
        "provenance": provenance(runtimes[0].machine()),
    }


def _hotspots(
    runtimes: Sequence[Runtime], request: AnalysisSettings, failures: list[dict[str, Any]], console: RunConsole
) -> list[dict[str, Any]]:
    """Rows of every runtime that can be profiled. One that cannot is added to the failures."""
    rows: list[dict[str, Any]] = []
    for runtime in runtimes:
        with console.progress(f"profiling {runtime.name}") as progress:
            try:
                rows += measure_hotspots([runtime], resolution=request.resolution, progress=progress)
            except LatencyError as error:
                candidate = "the profiled networks"
                failures.append({"runtime": runtime.name, "candidate": candidate, "reason": str(error)})
    return rows


def _forget_rounds(partial_dir: Path) -> None:
    """Delete the finished rounds: the record has every sample, and the next request measures again."""
    for path in partial_dir.glob("*.jsonl"):
        path.unlink()
    if partial_dir.is_dir() and not any(partial_dir.iterdir()):
        partial_dir.rmdir()


def choice_lines(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    """Rows (choice of a space, runtime, conclusion) of a record of `analyze`."""
    return [
        (choice["title"], runtime, result["meaning"])
        for choice in record["choices"]
        for runtime, result in choice["runtimes"].items()
    ]


def summary_lines(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    """Rows (claim, runtime, verdict, ratios) of a record of `analyze`."""
    rows = []
    for claim in record["claims"]:
        for runtime, result in claim["runtimes"].items():
            rows.append((claim["words"], runtime, result["verdict"], f"{result['low']:.2f} to {result['high']:.2f}"))
        if claim["across"]:
            low, high = claim["across"]["widest"]["interval"]
            rows.append((claim["words"], "all", claim["across"]["verdict"], f"{low:.2f} to {high:.2f} apart"))
    return rows

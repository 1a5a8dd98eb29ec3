"""The analysis of one device: experiments, where the milliseconds go, a record and a page in a folder of its own."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from efficientformer.analysis.conclusions import advise, summarize_claims
from efficientformer.analysis.hotspots import measure_hotspots
from efficientformer.analysis.measure_observations import measure_observations
from efficientformer.analysis.observations import plan_observations
from efficientformer.errors import LatencyError, UsageError
from efficientformer.latency.clock import Clock, check_clock
from efficientformer.latency.devices import default_clock, open_device
from efficientformer.latency.measure_networks import check_rounds
from efficientformer.latency.runtimes import Runtime
from efficientformer.pipeline.console import RunConsole
from efficientformer.provenance import provenance
from efficientformer.records import write_record
from efficientformer.report.analysis_page import FORMAT, RECORD_NAME, render_analysis

PARTIAL_DIR = "rounds"


@dataclass(frozen=True)
class AnalysisRequest:
    """What to analyze: names of runtimes and networks, numbers of observations (none for all), and how to time.

    The last three are what `open_device` takes for phones and for LiteRT.
    """

    out: Path
    runtimes: tuple[str, ...]
    device: str
    threads: int
    clock: Clock | None
    resolution: int
    rounds: int
    networks: tuple[str, ...]
    observations: tuple[int, ...]
    has_hotspots: bool = True
    device_program: str | None = None
    device_cores: str | None = None
    litert_python: str | None = None

    @property
    def resolved_clock(self) -> Clock:
        return self.clock or default_clock(self.device, self.runtimes, self.threads)

    def open_runtimes(self) -> list[Runtime]:
        return [
            open_device(
                self.device,
                name,
                self.threads,
                program=self.device_program,
                cores=self.device_cores,
                litert_python=self.litert_python,
            )
            for name in self.runtimes
        ]


def analyze(request: AnalysisRequest, console: RunConsole) -> tuple[dict[str, Any], Path]:
    """Measure, judge and write; returns the record and the path of the page.

    Finished rounds survive an interruption, and the same request goes on from them. Raises UsageError for a request
    that no runtime can serve, LatencyError for a measurement that fails.
    """
    clock = request.resolved_clock
    check_clock(clock, request.threads)
    check_rounds(request.rounds)  # Before minutes go into preparing networks.
    if len(set(request.runtimes)) < len(request.runtimes) or not request.runtimes:
        raise UsageError("Name each runtime once, and at least one: --runtime onnxruntime --runtime openvino.")
    observations = plan_observations(request.resolution, request.networks, request.observations)
    runtimes = request.open_runtimes()
    partial_dir = request.out / PARTIAL_DIR
    console.phase("analyze", f"{len(observations)} observations on {', '.join(request.runtimes)}")
    with console.progress("measuring") as progress:
        findings = measure_observations(
            observations,
            runtimes,
            clock=clock,
            rounds=request.rounds,
            partial_dir=partial_dir,
            progress=progress,
        )
    hotspots = _hotspots(runtimes, request, findings.failures, console) if request.has_hotspots else []
    record = {
        "format": FORMAT,
        "resolution": request.resolution,
        "device": request.device,
        "threads": request.threads,
        "clock": clock,
        "rounds": request.rounds,
        "runtimes": [runtime.describe() for runtime in runtimes],
        "claims": summarize_claims(findings.experiments, findings.differences),
        "advice": advise(findings.switches),
        **asdict(findings),
        "hotspots": hotspots,
        "provenance": provenance(runtimes[0].machine()),
    }
    write_record(request.out / RECORD_NAME, record)
    _forget_rounds(partial_dir)
    for row in findings.failures:
        console.warn(f"{row['runtime']} cannot run {row['candidate']}: {row['reason']}")
    return record, render_analysis(request.out)


def _hotspots(
    runtimes: Sequence[Runtime], request: AnalysisRequest, failures: list[dict[str, Any]], console: RunConsole
) -> list[dict[str, Any]]:
    """Rows of every runtime that can be profiled; what cannot joins the failures and costs no experiment."""
    rows: list[dict[str, Any]] = []
    for runtime in runtimes:
        with console.progress(f"where the time goes with {runtime.name}") as progress:
            try:
                rows += measure_hotspots([runtime], resolution=request.resolution, progress=progress)
            except LatencyError as error:
                candidate = "the networks that are broken down by operators"
                failures.append({"runtime": runtime.name, "candidate": candidate, "reason": str(error)})
    return rows


def _forget_rounds(partial_dir: Path) -> None:
    """The record holds every sample now; the same request later measures anew."""
    for path in partial_dir.glob("observation_*.jsonl"):
        path.unlink()
    if partial_dir.is_dir() and not any(partial_dir.iterdir()):
        partial_dir.rmdir()


def summary_lines(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    """Rows (claim, runtime, verdict, ratios) for a person."""
    rows = []
    for claim in record["claims"]:
        for runtime, found in claim["runtimes"].items():
            rows.append((claim["words"], runtime, found["verdict"], f"{found['low']:.2f} to {found['high']:.2f}"))
        if claim["across"]:
            low, high = claim["across"]["widest"]["interval"]
            rows.append((claim["words"], "all", claim["across"]["verdict"], f"{low:.2f} to {high:.2f} apart"))
    return rows

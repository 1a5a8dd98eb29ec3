"""Measuring whole networks side by side: the promise is about the file that will be shipped."""

from collections.abc import Mapping
from pathlib import Path

from efficientformer.errors import LatencyError
from efficientformer.latency.clock import Clock, check_clock
from efficientformer.latency.measurement import Measurement, paired_ratio
from efficientformer.latency.prepared import Prepared
from efficientformer.latency.runtimes import Runtime
from efficientformer.latency.timer import (
    MIN_SAMPLE_MS,
    WARMUP_RUNS,
    Progress,
    time_interleaved,
    warm_up,
)
from efficientformer.provenance import provenance

ROUNDS = 60
MIN_ROUNDS = 40
"""Fewer rounds give no interval worth stating."""


def measure_files(
    files: Mapping[str, Path],
    input_shape: tuple[int, int, int, int],
    runtime: Runtime,
    clock: Clock,
    rounds: int = ROUNDS,
    *,
    reference: str | None = None,
    warmup_runs: int = WARMUP_RUNS,
    min_sample_ms: float = MIN_SAMPLE_MS,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Measurement]:
    """`measure_networks` on exported files. Raises LatencyError for a file that does not run, too."""
    candidates = {name: runtime.open(path, input_shape) for name, path in files.items()}
    return measure_networks(
        candidates,
        input_shape,
        runtime,
        clock,
        rounds,
        reference=reference,
        warmup_runs=warmup_runs,
        min_sample_ms=min_sample_ms,
        seed=seed,
        progress=progress,
    )


def measure_networks(
    candidates: Mapping[str, Prepared],
    input_shape: tuple[int, int, int, int],
    runtime: Runtime,
    clock: Clock,
    rounds: int = ROUNDS,
    *,
    reference: str | None = None,
    warmup_runs: int = WARMUP_RUNS,
    min_sample_ms: float = MIN_SAMPLE_MS,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Measurement]:
    """One `Measurement` per network, all timed in the same randomly interleaved rounds, on inputs (B, C, H, W).

    `candidates` come from the runtime's `prepare` or `open`. With `reference`, one of the names, each record has its
    ratio to that network: a change of the machine's speed moves milliseconds and leaves ratios where they are. Raises
    LatencyError for a clock that does not fit the threads, or fewer than 40 rounds.
    """
    check_clock(clock, runtime.threads)
    if rounds < MIN_ROUNDS:
        raise LatencyError(f"{rounds} rounds are too few for an interval; ask for {MIN_ROUNDS} or more.")
    if reference is not None and reference not in candidates:
        raise LatencyError(f"The reference {reference!r} is not among the networks: {', '.join(candidates)}.")
    origin = provenance(runtime.machine())
    calls = warm_up(candidates, clock=clock, min_sample_ms=min_sample_ms, warmup_runs=warmup_runs)
    samples = time_interleaved(
        candidates, rounds=rounds, clock=clock, threads=runtime.threads, seed=seed, calls=calls, progress=progress
    )
    return {
        name: Measurement(
            samples_ms=tuple(samples[name]),
            clock=clock,
            warmup_runs=warmup_runs,
            calls_per_sample=calls[name].timed,
            runtime=runtime.describe(),
            threads=runtime.threads,
            batch_size=input_shape[0],
            resolution=(input_shape[2], input_shape[3]),
            provenance=origin,
            ratio=None if reference is None else paired_ratio(samples[name], samples[reference], reference),
        )
        for name in candidates
    }

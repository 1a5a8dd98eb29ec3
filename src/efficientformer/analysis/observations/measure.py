"""Timing the experiments of the four observations.

The candidates of one observation are timed in the same rounds on every runtime, so that each ratio is a paired one.
Observations follow one another: all their networks together would not fit into the memory of a small device.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from efficientformer.analysis.observations import variants
from efficientformer.analysis.observations.experiment import Candidate, Observation
from efficientformer.analysis.observations.findings import Findings, Rows, Timed, conclude
from efficientformer.errors import LatencyError
from efficientformer.latency.clock import Clock
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.tables.preparation import same_weights
from efficientformer.latency.timing.measure_networks import ROUNDS, Subject, measure_networks
from efficientformer.latency.timing.timer import Progress


def measure_observations(
    observations: Sequence[Observation],
    runtimes: Sequence[Runtime],
    *,
    clock: Clock,
    rounds: int = ROUNDS,
    seed: int = 0,
    partial_dir: Path | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Time every observation's candidates on every runtime, and judge the ratios.

    Rounds are kept in `partial_dir`, and a later call with the same arguments goes on from them. What a runtime cannot
    run is listed among the failures, and its experiments are left out. Raises LatencyError when a runtime can run
    nothing, on a clock that does not fit the threads, and for fewer than 40 rounds.
    """
    num_candidates = [len(observation.candidates) * len(runtimes) for observation in observations]
    total, done = sum(num_candidates) + rounds * len(observations), 0
    failures: Rows = []
    timed = []
    for observation, count in zip(observations, num_candidates, strict=True):
        subjects, macs = _prepare(observation, runtimes, failures, _counted(progress, done, total))
        measured = measure_networks(
            {f"{runtime}: {name}": subject for (runtime, name), subject in subjects.items()},
            clock,
            rounds,
            seed=seed,
            partial_path=partial_dir and partial_dir / f"observation_{observation.number}.jsonl",
            progress=_counted(progress, done + count, total, f"observation {observation.number}: "),
        )
        timed.append(Timed(observation, dict(zip(subjects, measured.values(), strict=True)), macs))
        done += count + rounds
        del subjects  # Its networks leave memory before the next observation's are made.
    return conclude(timed, [runtime.name for runtime in runtimes], failures)


def _prepare(
    observation: Observation, runtimes: Sequence[Runtime], failures: Rows, progress: Progress
) -> tuple[dict[tuple[str, str], Subject], dict[str, int]]:
    """Every candidate on every runtime, and the MACs of each. A candidate is built once, for all."""
    subjects: dict[tuple[str, str], Subject] = {}
    macs = {}
    for index, candidate in enumerate(observation.candidates):
        module = _build(candidate)
        macs[candidate.name] = variants.count_macs(module, candidate.input_shape)
        for number, runtime in enumerate(runtimes, start=1):
            progress(index * len(runtimes) + number, 0, f"preparing {candidate.name}")
            try:
                prepared = runtime.prepare(module, candidate.input_shape)
            except LatencyError as error:
                failures.append({"runtime": runtime.name, "candidate": candidate.name, "reason": str(error)})
                continue
            subjects[runtime.name, candidate.name] = Subject(prepared, runtime, candidate.input_shape)
    for runtime in runtimes:
        if not any(name == runtime.name for name, _ in subjects):
            reason = next(row["reason"] for row in failures if row["runtime"] == runtime.name)
            raise LatencyError(f"{runtime.name} can run none of the networks: {reason}")
    return subjects, macs


def _build(candidate: Candidate) -> torch.nn.Module:
    with same_weights():
        return candidate.build().eval().requires_grad_(False)


def _counted(progress: Progress | None, before: int, total: int, prefix: str = "") -> Progress:
    """Progress of one step among all, counted on from what is done; rounds that are added on the way do not count."""
    return lambda done, _, text: progress(min(before + done, total), total, prefix + text) if progress else None

"""Time the experiments of the four observations, and the choices of a space.

The candidates of an observation are timed in the same rounds on all runtimes, so each ratio is over paired samples.
Observations are timed one after another: all networks together would not fit into the memory of a small device.
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
    """Time every observation's candidates on every runtime, and decide which claims hold.

    Finished rounds are kept in `partial_dir`, and a later call with the same arguments resumes from them. Candidates
    that a runtime cannot run are listed as failures, and their experiments are left out. Raises LatencyError when a
    runtime can run no candidate, when the clock does not fit the number of threads, and for fewer than 40 rounds.
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
            partial_path=partial_dir and partial_dir / f"{observation.title.replace(' ', '_')}.jsonl",
            progress=_counted(progress, done + count, total, f"{observation.title}: "),
        )
        timed.append(Timed(observation, dict(zip(subjects, measured.values(), strict=True)), macs))
        done += count + rounds
        del subjects  # Free these networks before building those of the next observation.
    return conclude(timed, [runtime.name for runtime in runtimes], failures)


def _prepare(
    observation: Observation, runtimes: Sequence[Runtime], failures: Rows, progress: Progress
) -> tuple[dict[tuple[str, str], Subject], dict[str, int]]:
    """Prepare every candidate on every runtime, and count its MACs. A candidate is built once for all runtimes."""
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
            raise LatencyError(f"{runtime.name} cannot run any of the networks: {reason}")
    return subjects, macs


def _build(candidate: Candidate) -> torch.nn.Module:
    with same_weights():
        return candidate.build().eval().requires_grad_(False)


def _counted(progress: Progress | None, before: int, total: int, prefix: str = "") -> Progress:
    """Progress of one part of the work, in units of the whole; additional rounds do not count."""
    return lambda done, _, text: progress(min(before + done, total), total, prefix + text) if progress else None

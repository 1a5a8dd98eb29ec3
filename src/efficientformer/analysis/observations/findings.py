"""Rows of ratios and verdicts, computed from the timed candidates of an observation."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from efficientformer.analysis.observations.claims import COMPILER
from efficientformer.analysis.observations.experiment import Experiment, Observation, Trial
from efficientformer.analysis.observations.verdict import runtimes_differ, switch_effect, verdict_on, widened
from efficientformer.latency.timing.measurement import Measurement, Ratio

Rows = list[dict[str, Any]]
Times = dict[tuple[str, str], Measurement]
"""Measurements by (runtime, candidate)."""


@dataclass
class Findings:
    """Rows of the record `analysis.json`, as plain JSON values.

    Every ratio has a `rounds_interval`, its 95 % interval over rounds, and an `interval`, the same widened by the
    controls. Verdicts follow from `interval`.

    experiments: one row per experiment and runtime.
    switches: one row per changed network and runtime.
    differences: one row per activation that was timed on several runtimes.
    trials: one row per tried option of a choice of a space and runtime.
    controls: one row per copy and runtime.
    candidates: one row per candidate and runtime, with every sample.
    failures: candidates that a runtime cannot run, with the reason.
    """

    experiments: Rows = field(default_factory=list)
    switches: Rows = field(default_factory=list)
    differences: Rows = field(default_factory=list)
    trials: Rows = field(default_factory=list)
    controls: Rows = field(default_factory=list)
    candidates: Rows = field(default_factory=list)
    failures: Rows = field(default_factory=list)


@dataclass(frozen=True)
class Timed:
    """An observation, the measurements of its candidates by (runtime, candidate), and the MACs by candidate."""

    observation: Observation
    times: Times
    macs: dict[str, int]


def conclude(timed: Sequence[Timed], runtimes: Sequence[str], failures: Rows) -> Findings:
    """The rows of all observations; the controls of all of them widen the intervals of each."""
    findings = Findings(failures=failures)
    copies: dict[tuple[str, bool], list[float]] = {}
    for one in timed:
        number = one.observation.number
        for control, runtime in itertools.product(one.observation.controls, runtimes):
            ratio = _paired(one.times, runtime, control.copy, control.candidate)
            if ratio is not None:
                copies.setdefault((runtime, control.is_network), []).append(ratio.p50)
                about = {"observation": number, "runtime": runtime, **asdict(control)}
                findings.controls.append({**about, "ratio": ratio.p50, "rounds_interval": ratio.interval})
    for one in timed:
        _add_rows(findings, one, runtimes, _Ratios(one.times, copies))
    return findings


def _add_rows(findings: Findings, timed: Timed, runtimes: Sequence[str], ratios: "_Ratios") -> None:
    number, macs = timed.observation.number, timed.macs
    findings.candidates += [
        _candidate_row(number, runtime, name, measured, macs[name]) for (runtime, name), measured in timed.times.items()
    ]
    for experiment in timed.observation.experiments:
        by_runtime = {
            runtime: row
            for runtime in runtimes
            if (row := ratios.between(runtime, experiment.subject, experiment.baseline, experiment.is_network))
        }
        for runtime, row in by_runtime.items():
            findings.experiments.append(
                {**_experiment_row(number, experiment, runtime, row), **_macs(experiment, macs)}
            )
        if number == COMPILER.observation and len(by_runtime) > 1:
            findings.differences.append(_difference_row(experiment, by_runtime))
    for switch, runtime in itertools.product(timed.observation.switches, runtimes):
        if row := ratios.between(runtime, switch.changed, switch.network, is_network=True):
            about = {"observation": number, "network": switch.network, "choice": switch.choice, "runtime": runtime}
            findings.switches.append({**about, **row, "effect": switch_effect(row["interval"])})
    for trial, runtime in itertools.product(timed.observation.trials, runtimes):
        if row := ratios.between(runtime, trial.subject, trial.baseline, trial.is_network):
            about = {"name": f"{trial.option} against {trial.against}", "runtime": runtime, **asdict(trial)}
            findings.trials.append({**about, **row, "effect": switch_effect(row["interval"]), **_macs(trial, macs)})


def _macs(pair: Experiment | Trial, macs: dict[str, int]) -> dict[str, int]:
    return {"subject_macs": macs[pair.subject], "baseline_macs": macs[pair.baseline]}


@dataclass(frozen=True)
class _Ratios:
    """Paired ratios of one observation, with intervals widened by the `copies` of the same runtime and kind."""

    times: Times
    copies: dict[tuple[str, bool], list[float]]

    def between(self, runtime: str, subject: str, baseline: str, is_network: bool) -> dict[str, Any] | None:
        """The ratio as entries of a row, or None if the runtime cannot run one of the two."""
        ratio = _paired(self.times, runtime, subject, baseline)
        if ratio is None:
            return None
        return {
            "ratio": ratio.p50,
            "interval": widened(ratio.interval, self.copies.get((runtime, is_network), [])),
            "rounds_interval": ratio.interval,
            "subject_ms": self.times[runtime, subject].p50_ms,
            "baseline_ms": self.times[runtime, baseline].p50_ms,
        }


def _paired(times: Times, runtime: str, subject: str, baseline: str) -> Ratio | None:
    ours, theirs = times.get((runtime, subject)), times.get((runtime, baseline))
    return None if ours is None or theirs is None else ours.ratio_to(theirs, baseline)


def _candidate_row(number: int | None, runtime: str, name: str, measured: Measurement, macs: int) -> dict[str, Any]:
    return {
        "observation": number,
        "runtime": runtime,
        "name": name,
        "macs": macs,
        "p50_ms": measured.p50_ms,
        "interval_ms": list(measured.interval_ms),
        "disturbed_percent": round(measured.disturbed_percent, 1),
        "calls_per_sample": measured.calls_per_sample,
        "disturbed_rounds": list(measured.disturbed_rounds),
        "samples_ms": list(measured.samples_ms),
    }


def _experiment_row(number: int | None, experiment: Experiment, runtime: str, ratio: dict[str, Any]) -> dict[str, Any]:
    claim, threshold, verdict = experiment.claim, experiment.threshold, None
    if claim is not None and threshold is not None:
        verdict = verdict_on(ratio["interval"], claim.bound, threshold)
    return {
        "observation": number,
        "name": experiment.name,
        "setting": experiment.setting,
        "is_network": experiment.is_network,
        "runtime": runtime,
        "subject": experiment.subject,
        "baseline": experiment.baseline,
        **ratio,
        "claim": None if claim is None else claim.key,
        "claim_words": None if claim is None else claim.words,
        "bound": None if claim is None else claim.bound,
        "threshold": threshold,
        "verdict": verdict,
        "paper": experiment.paper and experiment.paper.to_json(),
    }


def _difference_row(experiment: Experiment, ratios: dict[str, dict[str, Any]]) -> dict[str, Any]:
    factor, verdict = runtimes_differ({runtime: ratio["interval"] for runtime, ratio in ratios.items()})
    by_ratio = sorted(ratios, key=lambda runtime: ratios[runtime]["ratio"])
    return {
        "name": experiment.name,
        "setting": experiment.setting,
        "lowest": by_ratio[0],
        "highest": by_ratio[-1],
        "interval": factor,
        "verdict": verdict,
    }

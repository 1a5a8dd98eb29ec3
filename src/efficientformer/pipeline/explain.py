"""Why a step of slimming took its action, from the trace alone. No torch."""

from typing import Any

from efficientformer.errors import UsageError
from efficientformer.formats.slimming import CandidateRecord, Trace, states, states_before
from efficientformer.search.objective import Objective


def explain_step(trace: Trace, number: int) -> dict[str, Any]:
    """The step's candidates, the best first and refused ones last, and a sentence on why the first one won.

    Raises UsageError for a step that the trace does not have.
    """
    steps = trace["steps"]
    if not 1 <= number <= len(steps):
        has = f"steps 1 to {len(steps)}" if steps else "no steps"
        raise UsageError(f"There is no step {number}: the trace has {has}.")
    step = steps[number - 1]
    before = states_before(trace)[number - 1]
    taken = step["candidates"][step["taken"]]
    others = [candidate for index, candidate in enumerate(step["candidates"]) if index != step["taken"]]
    unscored = [row for row in others if row["score"] is None]
    rivals = sorted((row for row in others if row["score"] is not None), key=_score)
    return {
        "step": number,
        "metric": trace["metric"],
        "objective": trace.get("objective", "latency"),
        "why": _why(taken, rivals, unscored, Objective.parse(trace.get("objective", "latency")))
        + _trained(trace, before),
        "before": {name: before[name] for name in ("latency_ms", "accuracy")},
        "after": {name: step[name] for name in ("latency_ms", "accuracy")},
        "candidates": [taken, *rivals, *sorted(unscored, key=_is_refused)],
    }


def _trained(trace: Trace, before: Any) -> str:
    """A sentence on the training between two rounds, where the step is the first after it."""
    if before is not trace.get("round"):
        return ""
    number = before["step"]
    reached = states(trace)[number]
    return (
        f" It is of the second round: the network after step {number} was trained for {before['epochs']} epochs, from "
        f"{reached['accuracy']:.2f} to {before['accuracy']:.2f} % {trace['metric']}."
    )


def _why(
    taken: CandidateRecord, rivals: list[CandidateRecord], unscored: list[CandidateRecord], objective: Objective
) -> str:
    start, unit = f"Step taken: {taken['text']}, which {_saves(taken, objective)} and ", objective.unit
    drop = taken["drop"] or 0.0
    if drop < 0:
        start += f"gains {-drop:.2f} points."
    elif drop > 0:
        start += f"costs {drop:.2f} points: {taken['score']:.2f} per {unit}."
    else:
        start += "costs nothing."
    if not rivals and any(row.get("last_score") is not None for row in unscored):
        return f"{start} Every other action cost more per {unit} when it was last weighed."
    if not rivals and any(row["below"] is not None for row in unscored):
        return f"{start} No other action could cost as little per {unit}."
    if not rivals:
        return f"{start} No other action {'saves time' if objective.is_latency else 'gains anything'}."
    next_best = rivals[0]
    if next_best["score"] == taken["score"]:
        gains = "saves" if objective.is_latency else "gains"
        return f"{start} {_capital(next_best['text'])} costs the same per {unit}, but {gains} less."
    return f"{start} Next would be: {next_best['text']}, at {next_best['score']:.2f} points per {unit}."


def _saves(row: CandidateRecord, objective: Objective) -> str:
    saved_ms, gain = row["saved_ms"], row.get("gain")
    if gain is None:
        return f"saves {saved_ms:.4f} ms"
    time = "saves no time" if not saved_ms else f"{'saves' if saved_ms > 0 else 'adds'} {abs(saved_ms):.4f} ms"
    return f"{time}, gains {gain:.4g} by {objective.name},"


def _score(row: CandidateRecord) -> float:
    return row["score"] or 0.0


def _is_refused(row: CandidateRecord) -> bool:
    return row["below"] is None and row.get("last_score") is None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

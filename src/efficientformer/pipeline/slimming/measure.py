"""Measure whole networks of a run interleaved with the largest of its search space."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from efficientformer.arch.spec import Architecture
from efficientformer.latency.prepared import Prepared
from efficientformer.latency.tables.preparation import prepare_architecture
from efficientformer.latency.timing.measure_networks import Subject, measure_networks
from efficientformer.latency.timing.measurement import Measurement
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.promise import Latency, Promise

LARGEST = "largest"


def prepare_untrained(workspace: Workspace, architecture: Architecture) -> Prepared:
    """The architecture with random weights on the run's runtime, in deploy form; latency does not depend on weights."""
    resolution, num_classes = workspace.settings.resolution, len(workspace.dataset.classes)
    return prepare_architecture(architecture, resolution, num_classes, workspace.runtime)


def open_exported(workspace: Workspace, path: Path) -> Prepared:
    """An exported file on the run's runtime."""
    return workspace.runtime.open(path, workspace.input_shape)


def measure_with_largest(
    workspace: Workspace,
    largest: Prepared,
    candidates: Mapping[str, Prepared],
    promises: Mapping[str, Promise],
    *,
    rounds: int,
) -> dict[str, Measurement]:
    """Interleaved measurements of the candidates and of the space's largest network (key `LARGEST`).

    While the verdict on a promise is open after `rounds`, more rounds follow, within the bounds of `measure_networks`.
    """
    settings = workspace.settings

    def decided(measured: Mapping[str, Measurement]) -> bool:
        largest_ms, _ = measured[LARGEST].at(settings.percentile)
        for name, promise in promises.items():
            latency = latency_with_largest(measured, name, promise)
            if promise.verdict(latency, promise.limit_ms(largest_ms)) == "open":
                return False
        return True

    return _with_largest(workspace, largest, candidates, rounds=rounds, decided=decided)


def measure_briefly_with_largest(
    workspace: Workspace, largest: Prepared, candidates: Mapping[str, Prepared], *, rounds: int
) -> dict[str, Measurement]:
    """The same in exactly `rounds` rounds, even if they are disturbed or leave a verdict open."""
    return _with_largest(workspace, largest, candidates, rounds=rounds, most_rounds=rounds, most_redone=0.0)


def _with_largest(
    workspace: Workspace, largest: Prepared, candidates: Mapping[str, Prepared], *, rounds: int, **bounds: Any
) -> dict[str, Measurement]:
    everything = {LARGEST: largest, **candidates}
    settings = workspace.settings
    shape = workspace.input_shape
    with workspace.console.progress("measuring") as progress:
        return measure_networks(
            {name: Subject(prepared, workspace.runtime, shape) for name, prepared in everything.items()},
            settings.latency_clock,
            rounds,
            reference=LARGEST,
            seed=settings.seed,
            progress=progress,
            **bounds,
        )


def latency_with_largest(measured: Mapping[str, Measurement], name: str, promise: Promise) -> Latency:
    """Milliseconds of a network, and the 95 % interval of what its budget is about.

    A budget in percent is about the ratio to the largest network within the rounds, which a change of the machine's
    speed does not affect. The result is that ratio times the median of the largest network.
    """
    own, largest = measured[name], measured[LARGEST]
    if not promise.budget.is_share or promise.percentile != "p50":
        return own.at(promise.percentile)
    assert own.ratio is not None and own.ratio.reference == LARGEST
    low, high = own.ratio.interval
    return own.ratio.p50 * largest.p50_ms, (low * largest.p50_ms, high * largest.p50_ms)

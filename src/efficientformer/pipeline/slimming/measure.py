"""Measure whole networks of a run interleaved with the largest of its search space."""

from collections.abc import Mapping
from typing import cast

from efficientformer.arch.spec import Architecture
from efficientformer.latency.prepared import Prepared
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.tables.preparation import prepare_architecture
from efficientformer.latency.timing.measure_networks import Subject, measure_networks
from efficientformer.latency.timing.measurement import Measurement
from efficientformer.latency.timing.repeated import Repeated
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.promise import Latency, Promise

LARGEST = "largest"


def prepare_untrained(workspace: Workspace, architecture: Architecture, runtime: Runtime | None = None) -> Prepared:
    """The architecture with random weights, as a table times it. runtime: by default that of the run."""
    resolution, num_classes = workspace.settings.resolution, len(workspace.dataset.classes)
    return prepare_architecture(architecture, resolution, num_classes, runtime or workspace.runtime)


def measure_briefly_with_largest(
    workspace: Workspace, largest: Prepared, candidates: Mapping[str, Prepared], *, rounds: int
) -> dict[str, Measurement]:
    """Interleaved measurements, in one session, of the candidates and of the space's largest network (`LARGEST`).

    There are exactly `rounds` rounds, even if they are disturbed or leave a verdict open.
    """
    everything = {LARGEST: largest, **candidates}
    settings = workspace.settings
    shape = workspace.input_shape
    with workspace.console.progress("measuring") as progress:
        return measure_networks(
            {name: Subject(prepared, workspace.runtime, shape) for name, prepared in everything.items()},
            settings.latency_clock,
            rounds,
            reference=LARGEST,
            most_rounds=rounds,
            most_redone=0.0,
            seed=settings.seed,
            progress=progress,
        )


def latency_with_largest(
    measured: Mapping[str, Measurement] | Mapping[str, Repeated], name: str, promise: Promise
) -> Latency:
    """Milliseconds of a network, and the interval of what its budget is about.

    A budget in percent is about the ratio to the largest network within the rounds, which a change of the machine's
    speed does not affect. The result is that ratio times the median of the largest network.
    """
    own, largest = measured[name], measured[LARGEST]
    if not promise.budget.is_share or promise.percentile != "p50":
        return own.at(promise.percentile)
    ratio = own.ratio if isinstance(own, Measurement) else own.ratio_to(cast(Repeated, largest), LARGEST)
    assert ratio is not None and ratio.reference == LARGEST
    low, high = ratio.interval
    return ratio.p50 * largest.p50_ms, (low * largest.p50_ms, high * largest.p50_ms)

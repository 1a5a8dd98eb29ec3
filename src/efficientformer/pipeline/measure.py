"""Measure whole networks of a run side by side with the largest of its search space."""

from collections.abc import Callable, Mapping
from pathlib import Path

from efficientformer.arch.spec import Architecture
from efficientformer.latency.measure_networks import Subject, measure_networks
from efficientformer.latency.measurement import Measurement
from efficientformer.latency.preparation import prepare_architecture
from efficientformer.latency.prepared import Prepared
from efficientformer.pipeline.workspace import Workspace

LARGEST = "largest"


def prepare_untrained(workspace: Workspace, architecture: Architecture) -> Prepared:
    """The architecture on the run's runtime in deploy form; latency does not depend on what the weights are."""
    resolution, num_classes = workspace.settings.resolution, len(workspace.dataset.classes)
    return prepare_architecture(architecture, resolution, num_classes, workspace.runtime)


def open_exported(workspace: Workspace, path: Path) -> Prepared:
    """An exported file on the run's runtime."""
    resolution = workspace.settings.resolution
    return workspace.runtime.open(path, (1, 3, resolution, resolution))


def measure_beside_largest(
    workspace: Workspace,
    candidates: Mapping[str, Prepared],
    limit_ms: Callable[[str, float], float],
    *,
    rounds: int | None = None,
) -> dict[str, Measurement]:
    """Interleaved measurements of the candidates and of the space's largest network (key `LARGEST`), by default as many
    rounds as the run verifies with.

    They go on, within `measure_networks`' bounds, while the interval of some candidate holds its limit: a longer
    measurement may still decide. `limit_ms` takes the candidate's name and what the largest network takes, at the
    percentile that the run promises.
    """
    everything = {LARGEST: prepare_untrained(workspace, workspace.space.largest()), **candidates}
    settings = workspace.settings
    shape = (1, 3, settings.resolution, settings.resolution)

    def decided(measured: Mapping[str, Measurement]) -> bool:
        largest_ms, _ = measured[LARGEST].at(settings.percentile)
        return not any(
            measured[name].interval_holds(limit_ms(name, largest_ms), settings.percentile) for name in candidates
        )

    with workspace.console.progress("measuring") as progress:
        return measure_networks(
            {name: Subject(prepared, workspace.runtime, shape) for name, prepared in everything.items()},
            settings.latency_clock,
            rounds or settings.verify.rounds,
            reference=LARGEST,
            decided=decided,
            seed=settings.seed,
            progress=progress,
        )

"""Phase `reference`: fine-tune, score and export published networks within the budgets as those of the run are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from efficientformer.analysis.comparison.compared_network import prepare_network
from efficientformer.analysis.comparison.network_source import require_published
from efficientformer.analysis.shortlist.front import best_that_fits, is_measured
from efficientformer.formats.reference import ChosenReference
from efficientformer.latency.timing.measure_networks import MIN_ROUNDS
from efficientformer.latency.timing.measurement import Measurement
from efficientformer.leftovers import temporary_folder
from efficientformer.pipeline.networks.published import published_classifier
from efficientformer.pipeline.networks.trained import evaluate_network, export_network, train_network
from efficientformer.pipeline.references.reference import reference_network, reference_workspace, weights_file
from efficientformer.pipeline.references.require import require_shortlist
from efficientformer.pipeline.run.plan import REFERENCE, TUNE_REFERENCE
from efficientformer.pipeline.run.run_network import FoundNetwork, read_found, read_references, reference_names
from efficientformer.pipeline.run.settings import BEST
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.measure import (
    LARGEST,
    latency_with_largest,
    measure_briefly_with_largest,
    prepare_untrained,
)
from efficientformer.pipeline.slimming.promise import promises
from efficientformer.provenance import provenance
from efficientformer.records import write_record
from efficientformer.report.wording import ms


def run(workspace: Workspace) -> None:
    """Nothing for a run without references; those that it had before are no longer compared with."""
    if workspace.settings.reference is None:
        workspace.run_dir.references.unlink(missing_ok=True)
        REFERENCE.forget(workspace)
        return
    REFERENCE.run(workspace, lambda _: _choose(workspace))
    rows = read_references(workspace.run_dir)
    for row in rows:
        chosen = f"compared with {row['name']}" if row["name"] else f"no reference: {row['reason']}"
        workspace.console.say(f"{row['budget']}: {chosen}")
    for name in reference_names(rows):
        _train(workspace, name)


def _train(workspace: Workspace, name: str) -> None:
    own = reference_workspace(workspace, name)
    network = reference_network(own, name)

    def initial() -> Any:
        return published_classifier(own, name, weights_file(own, name))

    train_network(own, TUNE_REFERENCE, network, initial, init=name, about={"head": "new"})
    evaluate_network(own, network)
    export_network(own, network)


def _choose(workspace: Workspace) -> None:
    found, asked = read_found(workspace.run_dir), workspace.settings.reference
    rows = _by_shortlist(workspace, found) if asked == BEST else _by_name(workspace, found)
    about = provenance(workspace.runtime.machine())
    write_record(workspace.run_dir.references, {"asked": asked, "rows": rows, "provenance": about})


def _by_shortlist(workspace: Workspace, found: list[FoundNetwork]) -> list[ChosenReference]:
    networks, percentile = require_shortlist(workspace)["networks"], workspace.settings.percentile
    none = f"none of {sum(map(is_measured, networks))} published networks fits, by the shortlist of this device"
    best = [best_that_fits(networks, network.budget_ms, percentile) for network in found]
    return [
        _row(network, None, none) if row is None else _row(network, row["name"])
        for network, row in zip(found, best, strict=True)
    ]


def _by_name(workspace: Workspace, found: list[FoundNetwork]) -> list[ChosenReference]:
    """The network that the user named, for budgets that a brief measurement does not show it to be over."""
    name = workspace.settings.reference
    assert name is not None
    measured = _measure(workspace, name)
    by_slug = {promise.budget.slug: promise for promise in promises(workspace)}
    rows = []
    for network in found:
        promise = by_slug[network.budget.slug]
        latency = measured_ms, (low, high) = latency_with_largest(measured, name, promise)
        limit_ms = promise.limit_ms(measured[LARGEST].at(promise.percentile)[0])
        is_over = promise.verdict(latency, limit_ms) == "broken"
        over = f"{name} takes {ms(measured_ms)} ms [{ms(low)}, {ms(high)}], {ms(limit_ms)} ms are allowed"
        rows.append(_row(network, None, over) if is_over else _row(network, name))
    return rows


def _measure(workspace: Workspace, name: str) -> dict[str, Measurement]:
    """The network with random weights and the largest of the space, in the same rounds."""
    runtime, source = workspace.runtime, replace(require_published(name), name=name)
    with temporary_folder() as folder:
        network = prepare_network(source, workspace.settings.resolution, Path(folder))
        is_file = network.path.suffix in runtime.suffixes
        shape = workspace.input_shape
        prepared = runtime.open(network.path, shape) if is_file else runtime.prepare(network.module(), shape)
        largest = prepare_untrained(workspace, workspace.space.largest())
        return measure_briefly_with_largest(workspace, largest, {name: prepared}, rounds=MIN_ROUNDS)


def _row(network: FoundNetwork, name: str | None, reason: str | None = None) -> ChosenReference:
    return {"budget": network.budget.text, "slug": network.budget.slug, "name": name, "reason": reason}

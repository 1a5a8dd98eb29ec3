"""Phase `verify`: measure the exported files interleaved with the largest network, and check every promise."""

from dataclasses import replace
from typing import Any

from efficientformer.formats.network import ExportRecord
from efficientformer.formats.run import Verification
from efficientformer.models.deploy.forms import DeployForms
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.weights.load import load_network
from efficientformer.pipeline.run.corrections import correct
from efficientformer.pipeline.run.outputs import run_networks
from efficientformer.pipeline.run.plan import EXPORT, VERIFY
from efficientformer.pipeline.run.run_network import FoundNetwork, read_found
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.limits import UNITS, Limits
from efficientformer.pipeline.slimming.measure import (
    LARGEST,
    latency_with_largest,
    measure_with_largest,
    open_exported,
    prepare_untrained,
)
from efficientformer.pipeline.slimming.promise import Promise, promises
from efficientformer.provenance import provenance
from efficientformer.reading import read_record
from efficientformer.records import write_record


def run(workspace: Workspace) -> bool:
    """Returns whether every promise is kept. After a broken one, the next command measures again."""
    for network in run_networks(workspace):
        EXPORT.require(workspace, network)
    VERIFY.run(workspace, lambda _: _verify(workspace, read_found(workspace.run_dir)))
    promises = read_record(workspace.run_dir.verification, Verification)["promises"]
    for promise in promises:
        low, high = promise["measured_interval_ms"]
        verdict = "kept" if promise["kept"] else "NOT kept"
        taken = "".join(
            f", {row['measured']:.2f} of {row['most']:g} {UNITS[name]}" for name, row in promise["limits"].items()
        )
        how = f"{promise['percentile']}, {workspace.settings.latency_clock} clock"
        workspace.console.say(
            f"{promise['budget']} = {promise['budget_ms']:.3f} ms: measured {promise['measured_ms']:.3f} ms "
            f"[{low:.3f}, {high:.3f}] ({how}){taken}, {verdict}"
        )
    kept = all(promise["kept"] for promise in promises)
    if not kept:
        VERIFY.forget(workspace)
    return kept


def correct_broken(workspace: Workspace) -> None:
    """After a broken promise of latency, lower the target of the next search by the same factor."""
    found = {network.budget.slug: network for network in read_found(workspace.run_dir)}
    for row in read_record(workspace.run_dir.verification, Verification)["promises"]:
        most_ms, limit_ms = row["measured_interval_ms"][1], row["budget_ms"]
        if most_ms > limit_ms:
            network = found[row["slug"]]
            scale = Promise.correction(most_ms, limit_ms, network.budget_ms, network.predicted_ms)
            correct(workspace, row["slug"], scale)
            workspace.console.say(f"{row['budget']}: slimming continues with predictions times {scale:.3f}")


def _verify(workspace: Workspace, found: list[FoundNetwork]) -> None:
    by_slug = {promise.budget.slug: promise for promise in promises(workspace)}
    measured = measure_with_largest(
        workspace,
        prepare_untrained(workspace, workspace.space.largest()),
        {network.budget.slug: _open(workspace, network) for network in found},
        by_slug,
        rounds=workspace.settings.verify.rounds,
    )
    percentile, limits = workspace.settings.percentile, Limits(workspace)
    largest = measured[LARGEST]
    rows: list[dict[str, Any]] = []
    for network in found:
        measurement = measured[network.budget.slug]
        slug, promise = network.budget.slug, by_slug[network.budget.slug]
        budget_ms = promise.limit_ms(largest.at(percentile)[0])
        latency = latency_with_largest(measured, slug, promise)
        measured_ms, interval_ms = latency
        taken = limits.measured(network.architecture, network.files.onnx)
        rows.append(
            {
                "budget": network.budget.text,
                "slug": network.budget.slug,
                "budget_ms": budget_ms,
                "predicted_ms": network.predicted_ms,
                "measured_ms": measured_ms,
                "measured_p50_ms": latency_with_largest(measured, slug, replace(promise, percentile="p50"))[0],
                "measured_p90_ms": measurement.p90_ms,
                "all_p50_ms": measurement.all_p50_ms,
                "disturbed_percent": measurement.disturbed_percent,
                "percentile": percentile,
                "measured_interval_ms": list(interval_ms),
                "limits": {name: {"most": limits.most[name], "measured": value} for name, value in taken.items()},
                "kept": promise.verdict(latency, budget_ms) == "kept"
                and all(taken[name] <= limits.most[name] for name in taken),
            }
        )
    write_record(
        workspace.run_dir.verification,
        {
            "clock": workspace.settings.latency_clock,
            "runtime": workspace.runtime.describe(),
            "largest": {"p50_ms": largest.p50_ms, "interval_ms": list(largest.interval_ms)},
            "promises": rows,
            "measurements": {name: measurement.to_json() for name, measurement in measured.items()},
            "rounds": workspace.settings.verify.rounds,
            "provenance": provenance(),
        },
    )


def _open(workspace: Workspace, network: FoundNetwork):
    """The exported file, or, on a runtime that cannot open it, the same weights in the same deploy form."""
    if network.files.onnx.suffix not in workspace.runtime.suffixes:
        forms = DeployForms(**read_record(network.files.export_record, ExportRecord)["forms"])
        deployed = fuse(load_network(network.files.weights), forms)
        return workspace.runtime.prepare(deployed, workspace.input_shape)
    return open_exported(workspace, network.files.onnx)

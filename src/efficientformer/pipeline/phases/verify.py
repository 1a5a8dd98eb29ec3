"""Phase `verify`: measure the exported files with the largest network, in several sessions, and check every promise."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from efficientformer.formats.reference import ChosenReference
from efficientformer.formats.run import Verification
from efficientformer.latency.devices import open_restartable
from efficientformer.latency.prepared import Prepared
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.timing.repeated import Repeated
from efficientformer.pipeline.networks.timed import open_exported
from efficientformer.pipeline.references.reference import require_exported
from efficientformer.pipeline.run.corrections import correct
from efficientformer.pipeline.run.outputs import run_networks
from efficientformer.pipeline.run.plan import EXPORT, VERIFY
from efficientformer.pipeline.run.run_network import FoundNetwork, read_found, read_references, reference_names
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.shortlists.best_published import show_best_published
from efficientformer.pipeline.slimming.limits import UNITS, Limits
from efficientformer.pipeline.slimming.measure import LARGEST, latency_with_largest, prepare_untrained
from efficientformer.pipeline.slimming.promise import Promise, promises
from efficientformer.pipeline.slimming.sessions import Sessions
from efficientformer.provenance import provenance
from efficientformer.reading import read_record
from efficientformer.records import file_digest, write_record
from efficientformer.report.wording import confidence
from efficientformer.run_dir import NetworkFiles

INTERVAL_OF = "the median over processes, from one value of each session"


def run(workspace: Workspace) -> bool:
    """Returns whether every promise is kept. After a broken one, the next command adds sessions to those so far."""
    for network in run_networks(workspace):
        EXPORT.require(workspace, network)
    require_exported(workspace)
    VERIFY.run(workspace, lambda _: _verify(workspace, read_found(workspace.run_dir)))
    record = read_record(workspace.run_dir.verification, Verification)
    promises = record["promises"]
    for promise in promises:
        low, high = promise["measured_interval_ms"]
        verdict = "kept" if promise["kept"] else "NOT kept"
        taken = "".join(
            f", {row['measured']:.2f} of {row['most']:g} {UNITS[name]}" for name, row in promise["limits"].items()
        )
        how = f"{confidence(promise.get('interval_percent', 95))} % interval of the {promise['percentile']}"
        if "sessions" in promise:
            how += f" over {promise['sessions']} sessions in {record.get('opened_in')}"
        how += f", {workspace.settings.latency_clock} clock"
        workspace.console.say(
            f"{promise['budget']} = {promise['budget_ms']:.3f} ms: measured {promise['measured_ms']:.3f} ms "
            f"[{low:.3f}, {high:.3f}] ({how}){taken}, {verdict}"
        )
    show_best_published(workspace, record)
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
    settings, references = workspace.settings, read_references(workspace.run_dir)
    networks = {network.budget.slug: network.files for network in found}
    networks |= {_key(name): workspace.run_dir.reference(name) for name in reference_names(references)}
    runtime = open_restartable(workspace.device_options, settings.runtime, settings.threads)
    sessions = Sessions(
        workspace,
        runtime,
        lambda runtime: _open_all(workspace, runtime, networks),
        {name: file_digest(files.onnx) for name, files in networks.items()},
    )
    sessions.measure(by_slug)
    limits = Limits(workspace)
    measured = {name: sessions.repeated(name) for name in networks}
    rows = []
    for network in found:
        slug, taken = network.budget.slug, limits.measured(network.architecture, network.files.onnx)
        allowed = {name: (limits.most[name], value) for name, value in taken.items()}
        rows.append(promise_row(network, by_slug[slug], measured[slug], allowed))
    compared = [
        reference_row(row, by_slug[row["slug"]], measured[_key(name)])
        for row in references
        if (name := row["name"]) and row["slug"] in by_slug
    ]
    largest = max((pair[LARGEST] for pair in measured.values()), key=lambda repeated: len(repeated.sessions))
    write_record(
        workspace.run_dir.verification,
        {
            "clock": settings.latency_clock,
            "runtime": runtime.describe(),
            "opened_in": sessions.opened_in,
            "interval_of": INTERVAL_OF,
            "largest": {"p50_ms": largest.p50_ms, "interval_ms": list(largest.interval_ms)},
            "promises": rows,
            **({"references": compared} if compared else {}),
            "measurements": {
                LARGEST: largest.to_json(),
                **{name: pair[name].to_json() for name, pair in measured.items()},
            },
            "rounds": settings.verify.rounds,
            "provenance": provenance(runtime.machine()),
        },
    )


def promise_row(
    network: FoundNetwork, promise: Promise, measured: Mapping[str, Repeated], limits: Mapping[str, tuple[float, float]]
) -> dict[str, Any]:
    """The record of one promise.

    measured: the network, by its slug, and the largest, over the same sessions.
    limits: of each other limit, what is allowed and what was measured.
    """
    slug = network.budget.slug
    own, largest = measured[slug], measured[LARGEST]
    budget_ms = promise.limit_ms(largest.at(promise.percentile)[0])
    latency = measured_ms, interval_ms = latency_with_largest(measured, slug, promise)
    return {
        "budget": network.budget.text,
        "slug": slug,
        "budget_ms": budget_ms,
        "predicted_ms": network.predicted_ms,
        "measured_ms": measured_ms,
        "measured_p50_ms": latency_with_largest(measured, slug, replace(promise, percentile="p50"))[0],
        "measured_p90_ms": own.p90_ms,
        "all_p50_ms": own.all_p50_ms,
        "disturbed_percent": own.disturbed_percent,
        "percentile": promise.percentile,
        "measured_interval_ms": list(interval_ms),
        "interval_percent": round(own.percent, 2),
        "sessions": len(own.sessions),
        "limits": {name: {"most": most, "measured": value} for name, (most, value) in limits.items()},
        "kept": promise.verdict(latency, budget_ms) == "kept" and all(value <= most for most, value in limits.values()),
    }


def _key(name: str) -> str:
    """The name of a reference among measured networks, of which those of the run have that of their budget."""
    return f"reference {name}"


def reference_row(row: ChosenReference, promise: Promise, measured: Mapping[str, Repeated]) -> dict[str, Any]:
    """The record of a reference, whose latency breaks no promise."""
    assert row["name"] is not None
    own, largest = measured[key := _key(row["name"])], measured[LARGEST]
    budget_ms = promise.limit_ms(largest.at(promise.percentile)[0])
    latency = measured_ms, interval_ms = latency_with_largest(measured, key, promise)
    return {
        "name": row["name"],
        "budget": row["budget"],
        "slug": row["slug"],
        "budget_ms": budget_ms,
        "measured_ms": measured_ms,
        "measured_interval_ms": list(interval_ms),
        "interval_percent": round(own.percent, 2),
        "sessions": len(own.sessions),
        "kept": promise.verdict(latency, budget_ms) == "kept",
    }


def _open_all(workspace: Workspace, runtime: Runtime, networks: Mapping[str, NetworkFiles]) -> dict[str, Prepared]:
    largest = prepare_untrained(workspace, workspace.space.largest(), runtime)
    return {LARGEST: largest, **{name: open_exported(workspace, runtime, files) for name, files in networks.items()}}

"""The verb `shortlist`: about fifty published networks on the user's device, and the best one within each budget.

Networks are built and exported one by one, with random weights, on which latency does not depend. The folder keeps
exported files and finished rounds, so that the same request resumes after an interruption.
"""

import time
from pathlib import Path
from typing import Any

from efficientformer.analysis.comparison.published import sources as published_sources
from efficientformer.analysis.shortlist.front import best_that_fits, front
from efficientformer.analysis.shortlist.kept import keep_shortlist
from efficientformer.analysis.shortlist.published_networks import list_sources, published_networks
from efficientformer.analysis.shortlist.record import shortlist_rows
from efficientformer.arch.resolution import grid_of_input
from efficientformer.errors import EfficientFormerError, UsageError
from efficientformer.formats.shortlist import ShortlistRecord
from efficientformer.latency.clock import check_clock
from efficientformer.latency.devices import open_device, runs_here
from efficientformer.latency.timing.measure_networks import check_rounds
from efficientformer.paths import usable_path
from efficientformer.pipeline.comparison import (
    PreparedNetworks,
    beyond_memory,
    compare_networks,
    prepare_networks,
    rounds_path,
)
from efficientformer.pipeline.run.budget import Budget, parse_budget
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import with_given
from efficientformer.pipeline.shortlists.settings import OUT, ROUNDS, ShortlistSettings
from efficientformer.provenance import provenance
from efficientformer.records import write_record
from efficientformer.run_dir import RunDir

FORMAT = 1
RECORD_NAME = "shortlist.json"


def shortlist(settings: ShortlistSettings | None = None, *, out: Path | str = OUT, **given: Any) -> ShortlistRecord:
    """Measure the published networks of the list in the same rounds; returns the record.

    settings, given: `ShortlistSettings`, or its fields by name, which win.
    out: folder of shortlist.json and the exported networks.

    The record is also kept for later runs on the same device (see `analysis.shortlist.kept`). Raises UsageError for a
    request that cannot be carried out, LatencyError when nothing can be measured.
    """
    started = time.monotonic()
    settings, out, console = with_given(ShortlistSettings, settings, given), usable_path(out, "--out"), RunConsole()
    budgets = _budgets(settings.budget)
    check_rounds(settings.rounds, ROUNDS)
    check_clock(settings.latency_clock, settings.threads)
    console.warn_of_cores({"threads": settings.threads if runs_here(settings.device) else 1})
    runtime = open_device(settings, settings.runtime, settings.threads)
    networks = published_networks()
    with RunDir(out).locked():
        asked = [(network.source, settings.resolution or network.resolution) for network in networks]
        prepared = prepare_networks(asked, out / "networks", console)
        _leave_out_what_memory_lacks(prepared, runtime.name, settings.device, console)
        comparison = compare_networks(
            prepared.networks,
            [runtime],
            console,
            clock=settings.latency_clock,
            rounds=settings.rounds,
            least_rounds=ROUNDS,
            partial_path=rounds_path(out, prepared.networks),
        )
        rows = shortlist_rows(networks, prepared.networks, prepared.failed, comparison, runtime.name)
        best = {budget: best_that_fits(rows, budget.latency_ms(0)) for budget in budgets}
        record: Any = {
            "format": FORMAT,
            "device": settings.device,
            "runtime": runtime.describe(),
            "threads": settings.threads,
            "clock": settings.latency_clock,
            "rounds": settings.rounds,
            "resolution": settings.resolution and list(grid_of_input(settings.resolution)),
            "networks": rows,
            "front": [row["name"] for row in front(rows)],
            "budgets": [
                {"budget": budget.text, "budget_ms": budget.latency_ms(0), "best": row and row["name"]}
                for budget, row in best.items()
            ],
            "sources": {**list_sources(), "timm": published_sources()["timm"]},
            "seconds": round(time.monotonic() - started, 1),
            "provenance": provenance(runtime.machine()),
        }
        write_record(out / RECORD_NAME, record)
        try:
            keep_shortlist(record)
        except EfficientFormerError as error:
            console.warn(f"Later runs will not find this shortlist: {error}")
        for path in out.glob("rounds-*.partial.jsonl"):
            path.unlink()
    return record


def _leave_out_what_memory_lacks(prepared: PreparedNetworks, runtime: str, device: str, console: RunConsole) -> None:
    """Move the largest networks to the failed ones until the others fit. Raises UsageError if none does."""
    beyond = beyond_memory(prepared.networks, [runtime], device)
    if len(beyond) == len(prepared.networks):
        raise UsageError("There is not enough free memory for a single network. Close other programs.")
    names = {network.source.name for network in beyond}
    prepared.networks = [network for network in prepared.networks if network.source.name not in names]
    reason = "left out: not enough free memory to hold it with the others"
    prepared.failed += [(network.source, reason) for network in beyond]
    if beyond:
        console.warn(f"left out for want of memory: {', '.join(network.source.title for network in beyond)}")


def _budgets(texts: tuple[str, ...]) -> list[Budget]:
    """Budgets without repetition. Raises UsageError for one that is no number of milliseconds."""
    budgets = list(dict.fromkeys(map(parse_budget, texts)))
    for budget in budgets:
        if budget.is_share:
            raise UsageError(
                f"--budget {budget.text} is a share of a search space's largest network, which a shortlist does not "
                "have: write a latency such as 8ms."
            )
    return budgets

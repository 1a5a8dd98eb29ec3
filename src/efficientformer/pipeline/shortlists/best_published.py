"""For each promise of a run, the best published network within its budget, from the last shortlist of the device.

Nothing is measured here. `published.json` is written whenever promises are checked, and is no output of that phase: a
shortlist made later does not make a verification out of date.
"""

import shlex
from typing import Any, cast

from efficientformer.analysis.shortlist.front import best_that_fits, is_measured
from efficientformer.analysis.shortlist.kept import find_shortlist
from efficientformer.arch.resolution import grid_of_input, resolution_text
from efficientformer.errors import EfficientFormerError
from efficientformer.formats.run import Verification
from efficientformer.formats.shortlist import PublishedFigures, PublishedRecord, ShortlistRecord
from efficientformer.latency.devices import DeviceOptions
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.shortlists.settings import ShortlistSettings
from efficientformer.records import write_record
from efficientformer.report.published import published_lines


def show_best_published(workspace: Workspace, verification: Verification) -> None:
    """Write `published.json` and print a line for each budget, or how to get a shortlist. The published networks are
    classifiers: of masks and boxes nothing is said."""
    if workspace.task.words.is_dense:
        return
    record = _record(workspace, verification)
    write_record(workspace.run_dir.published, record)
    for line in published_lines(record):
        workspace.console.say(line)


def _record(workspace: Workspace, verification: Verification) -> PublishedRecord:
    kept = _find(workspace, verification)
    record: PublishedRecord = {"command": shortlist_command(workspace.settings), "shortlist": None, "rows": []}
    if kept is None:
        return record
    return {
        **record,
        "shortlist": {
            "time": str(kept["provenance"].get("time")),
            "rounds": kept["rounds"],
            "num_networks": sum(map(is_measured, kept["networks"])),
            "resolution": kept["resolution"],
        },
        "rows": [
            {
                "budget": promise["budget"],
                "slug": promise["slug"],
                "budget_ms": promise["budget_ms"],
                "best": _figures(best_that_fits(kept["networks"], promise["budget_ms"], promise["percentile"])),
            }
            for promise in verification["promises"]
        ],
    }


def _find(workspace: Workspace, verification: Verification) -> ShortlistRecord | None:
    settings, measured_on = workspace.settings, verification.get("provenance")
    if measured_on is None:
        return None
    try:
        return find_shortlist(
            measured_on["machine"],
            verification["runtime"],
            settings.threads,
            verification["clock"],
            grid_of_input(settings.resolution),
        )
    except EfficientFormerError as error:
        workspace.console.warn(f"The shortlist of this device is left out: {error}")
        return None


def _figures(row: Any) -> PublishedFigures | None:
    return row and cast(PublishedFigures, {name: row[name] for name in PublishedFigures.__annotations__})


def shortlist_command(settings: Settings) -> str:
    """The command that measures published networks as this run measures its own, at the run's resolution."""
    usual = ShortlistSettings()
    names = (*("runtime", "threads", "clock"), *DeviceOptions.model_fields)
    words = ["efficientformer", "shortlist"]
    for name in names:
        value = getattr(settings, name)
        if value not in (None, getattr(usual, name)):
            words += [f"--{name.replace('_', '-')}", str(value)]
    if grid_of_input(settings.resolution) != (224, 224):
        words += ["--resolution", resolution_text(settings.resolution)]
    return shlex.join(words)

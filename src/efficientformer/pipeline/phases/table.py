"""Phase `table`: measure the latency lookup table of the search space on this device (paper, section 4.2)."""

from efficientformer.latency.tables.build import build_table
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.pipeline.run.plan import TABLE
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.held_out import require_enough_images, require_metric


def run(workspace: Workspace) -> LatencyTable:
    require_enough_images(workspace)
    require_metric(workspace)
    settings, run_dir = workspace.settings, workspace.run_dir

    def work(fingerprint: str) -> None:
        with workspace.console.progress("measuring") as progress:
            table = build_table(
                workspace.space,
                resolution=settings.resolution,
                num_classes=len(workspace.dataset.classes),
                runtime=workspace.runtime,
                clock=settings.latency_clock,
                rounds=settings.table.rounds,
                seed=settings.seed,
                partial_path=run_dir.table_partial,
                progress=progress,
            )
        table.save(run_dir.table)
        run_dir.table_partial.unlink(missing_ok=True)

    _forget_refused(workspace)
    TABLE.run(workspace, work)
    table = LatencyTable.load(run_dir.table)
    error = table.error
    workspace.console.say(
        f"{len(table.entries)} entries; {error.num_networks} unseen networks predicted with a mean error of "
        f"{error.mean_percent:.1f} % (largest {error.max_percent:.1f} %, Kendall tau {error.kendall_tau:.2f}); "
        f"95 % interval of a prediction +-{table.spread.percent:.1f} %"
    )
    workspace.console.say(
        f"largest network {table.largest.measured_ms:.3f} ms, smallest {table.smallest.measured_ms:.3f} ms "
        f"({table.clock} clock)"
    )
    if error.mean_percent > settings.table.max_error:
        workspace.console.warn(
            f"slim rejects a table with a mean error above {settings.table.max_error:g} %. The same command measures "
            "it again, as on a quieter machine; or give it more rounds, or raise --table.max-error."
        )
    return table


def _forget_refused(workspace: Workspace) -> None:
    """Have this device's finished table measured again if the search would refuse it: it may be quieter by now."""
    max_error = workspace.settings.table.max_error
    if not workspace.settings.table.allow_foreign and TABLE.problem(workspace) is None:
        mean_percent = LatencyTable.load(workspace.run_dir.table).error.mean_percent
        if mean_percent > max_error:
            workspace.console.say(f"the table errs by {mean_percent:.1f} %, more than {max_error:g} %: measured again")
            TABLE.forget(workspace)

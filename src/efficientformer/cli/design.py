"""Verb `design`: the main job."""

from typing import Any

from efficientformer.cli.options import RunOptions, SettingsOption, open_workspace, print_json
from efficientformer.errors import BudgetError
from efficientformer.pipeline.run.settings import Settings


def design(*, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()) -> None:
    """From images and latency budgets to exported networks that were measured to keep them.

    Measures a latency table here, trains a supernet, slims it until every budget is met, trains, scores and exports
    the networks, measures the exported files and writes report.html. Run the same command again after an interruption
    and it goes on. Defaults shown are those of the quick preset.

    For example:

        efficientformer design
        efficientformer design --data photos --budget 8ms --budget 4ms --threads 1 --run-dir runs/mine
        efficientformer design --data photos --budget 50% --preset standard --train.epochs 30 --json
    """
    from efficientformer.pipeline.design import design as run_design

    with open_workspace(options, settings) as workspace:
        result = run_design(workspace)
        report = workspace.run_dir.report
    if options.json:
        print_json(result)
    else:
        _print_summary(result, str(report))
    if broken := [entry["budget"] for entry in result if not entry["kept"]]:
        raise BudgetError(
            f"The promise for {', '.join(broken)} could not be kept. Measure on a quieter machine, leave more room "
            "with --slim.headroom 0.1, or ask for a larger budget; the same command goes on from here."
        )


def _print_summary(result: list[dict[str, Any]], report: str) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ("budget", "ms", "predicted", "measured [95 %]", "kept", "top-1", "params", "MACs")
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for entry in result:
        low, high = entry["measured_interval_ms"]
        table.add_row(
            entry["budget"],
            f"{entry['budget_ms']:.3f}",
            f"{entry['predicted_ms']:.3f}",
            f"{entry['measured_ms']:.3f} [{low:.3f}, {high:.3f}]",
            "yes" if entry["kept"] else "NO",
            f"{entry['top1']:.1f}%",
            f"{entry['num_params'] / 1e6:.2f}M",
            f"{entry['macs'] / 1e6:.0f}M",
        )
    console = Console(highlight=False, markup=False)
    console.print(table)
    for entry in result:
        console.print(f"{entry['budget']}: {entry['onnx']}", soft_wrap=True)
    console.print(f"Report: {report}", soft_wrap=True)

"""Verb `report`."""

from pathlib import Path

from efficientformer.cli.options import JsonOption, print_json
from efficientformer.errors import UsageError
from efficientformer.run_dir import RunDir


def report(run_dir: Path, *, json: JsonOption = False) -> None:
    """Render report.html again from the records of a run; nothing is measured or trained.

    For example:

        efficientformer report runs/photos

    Parameters
    ----------
    run_dir: Path
        The run directory.
    json: bool
        Print where the report is as JSON.
    """
    from efficientformer.report.run.page import render_report

    if not RunDir(run_dir).settings.exists():
        raise UsageError(
            f"{run_dir} is not a run directory: it has no settings.json. 'efficientformer design' makes one."
        )
    path = render_report(run_dir)
    if json:
        print_json({"report": str(path)})
    else:
        print(path)  # noqa: T201

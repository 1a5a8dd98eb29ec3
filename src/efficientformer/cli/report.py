"""Verb `report`."""

from pathlib import Path

from efficientformer.cli.options import JsonOption
from efficientformer.cli.printing import print_json, print_lines


def report(run_dir: Path, *, json: JsonOption = False) -> None:
    """Render report.html again from the records of a run, without measuring or training.

    For example:

        efficientformer report runs/photos

    Parameters
    ----------
    run_dir: Path
        The run directory.
    json: bool
        Print the path of the report as one JSON document.
    """
    from efficientformer.pipeline import verbs

    path = verbs.report(run_dir)
    if json:
        print_json({"report": str(path)})
    else:
        print_lines([str(path)])

"""The report of a run, which names the records that are out of date."""

from pathlib import Path

from efficientformer.pipeline.out_of_date import out_of_date
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.report.run.page import render_report


def write_report(run_dir: Path) -> Path:
    """Write report.html; returns its path. Records that are out of date are named in it and in warnings."""
    stale = out_of_date(run_dir)
    for row in stale:
        RunConsole().warn(f"{row.text}. 'efficientformer {row.verb} --run-dir {run_dir}' makes it again.")
    return render_report(run_dir, [(row.text, row.verb) for row in stale])

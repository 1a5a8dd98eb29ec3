"""A self-contained HTML report of a run directory, made from its records alone. No torch."""

from efficientformer.report.run.figures import summary_figure
from efficientformer.report.run.page import render_report

__all__ = ["render_report", "summary_figure"]

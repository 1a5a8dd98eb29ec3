"""A run directory as one self-contained page, drawn from its records alone. No torch."""

from efficientformer.report.figures import summary_figure
from efficientformer.report.page import render_report

__all__ = ["render_report", "summary_figure"]

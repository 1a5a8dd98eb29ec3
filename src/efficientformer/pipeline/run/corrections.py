"""Corrections of the table that `verify` hands back to `slim`, by budget."""

from efficientformer.formats.run import CorrectionsRecord
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.reading import read_record
from efficientformer.records import file_digest, write_record


def read_corrections(workspace: Workspace) -> dict[str, float]:
    """Measured over predicted latency, by budget slug, for the budgets at which this table was corrected."""
    path, table = workspace.run_dir.corrections, workspace.run_dir.table
    if not path.exists() or not table.exists():
        return {}
    record = read_record(path, CorrectionsRecord)
    return record["scales"] if record["table"] == file_digest(table) else {}


def correct(workspace: Workspace, slug: str, scale: float) -> None:
    """Add a correction for one budget, which lowers the target of the next `slim`."""
    scales = read_corrections(workspace) | {slug: scale}
    table = file_digest(workspace.run_dir.table)
    write_record(workspace.run_dir.corrections, {"table": table, "scales": scales})

"""What verification learned about the table, by budget: the way back from `verify` to `slim`."""

from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.records import file_digest, read_record, write_record


def read_corrections(workspace: Workspace) -> dict[str, float]:
    """Measured over predicted latency, by budget slug, where verification had to correct this table."""
    path = workspace.run_dir.corrections
    record = read_record(path) if path.exists() else {}
    return record["scales"] if record.get("table") == file_digest(workspace.run_dir.table) else {}


def correct(workspace: Workspace, slug: str, scale: float) -> None:
    """Have the next `slim` aim lower for one budget."""
    scales = read_corrections(workspace) | {slug: scale}
    table = file_digest(workspace.run_dir.table)
    write_record(workspace.run_dir.corrections, {"table": table, "scales": scales})

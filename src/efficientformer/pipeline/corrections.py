"""What verification learned about the table, by budget: the way back from `verify` to `slim`."""

from efficientformer.pipeline.workspace import Workspace
from efficientformer.records import read_record, write_record


def read_corrections(workspace: Workspace) -> dict[str, float]:
    """Measured over predicted latency, by budget slug, where verification had to correct the table."""
    path = workspace.run_dir.corrections
    return read_record(path) if path.exists() else {}


def correct(workspace: Workspace, slug: str, scale: float) -> None:
    """Have the next `slim` aim lower for one budget."""
    write_record(workspace.run_dir.corrections, read_corrections(workspace) | {slug: scale})

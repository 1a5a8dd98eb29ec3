"""`table merge`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from efficientformer.cli.options import JsonOption
from efficientformer.cli.printing import print_json, print_lines
from efficientformer.cli.table.printing import error_line

OutOption = Annotated[Path, Parameter(name=("--out", "-o"))]


def merge(tables: list[Path], *, out: OutOption, json: JsonOption = False) -> None:
    """Make one table of two or more of the same device, runtime and clock.

    Entries that several tables have are averaged by precision, at the speed between theirs. Calibration and error are
    those of all networks together.

    For example:

        efficientformer table merge monday.json tuesday.json --out both.json

    Parameters
    ----------
    tables: list[Path]
        Two or more table.json files, or run directories with one.
    out: Path
        The table.json to write, or a run directory.
    json: bool
        Print the summary of the merged table as one JSON document.
    """
    from efficientformer.pipeline.tables.combine import merge as merge_files
    from efficientformer.pipeline.tables.describe import describe_table

    merge_files(tables, out)
    record = describe_table(out)
    if json:
        print_json(record)
    else:
        print_lines([f"{out}: {record['num_entries']} entries", error_line(record)])

"""The training log: one JSON line per entry, the same with and without interruptions."""

import json
from pathlib import Path
from typing import Any

from efficientformer.formats.network import LoggedStep
from efficientformer.reading import read_lines
from efficientformer.records import append_line, write_text


class MetricsLog:
    """The file `metrics.jsonl`; `rewind` drops the entries that a resumed run will write again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rewind(self, step: int) -> None:
        """Keep the entries of steps up to and including `step`."""
        kept = [entry for entry in read_lines(self._path, LoggedStep) if entry["step"] <= step]
        write_text(self._path, "".join(json.dumps(entry) + "\n" for entry in kept))

    def write(self, **entry: Any) -> None:
        append_line(self._path, entry)

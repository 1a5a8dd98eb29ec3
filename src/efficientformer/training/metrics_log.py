"""The training log: one JSON line per entry, the same with and without interruptions."""

import json
from pathlib import Path
from typing import Any

from efficientformer.formats.network import LoggedStep
from efficientformer.reading import read_lines
from efficientformer.records import append_line, write_text
from efficientformer.training.trackers.tracker import Guarded


class MetricsLog:
    """The file `metrics.jsonl`; `rewind` drops the entries that a resumed run will write again.

    tracker: gets all entries as well, from the next `rewind` to `close`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tracker: Guarded | None = None

    def rewind(self, step: int) -> None:
        """Keep the entries of steps up to and including `step`."""
        kept = [entry for entry in read_lines(self.path, LoggedStep) if entry["step"] <= step]
        write_text(self.path, "".join(json.dumps(entry) + "\n" for entry in kept))
        if self.tracker is not None:
            self.tracker.begin(step)

    def write(self, **entry: Any) -> None:
        append_line(self.path, entry)
        if self.tracker is not None:
            self.tracker.write(entry["step"], {name: value for name, value in entry.items() if name != "step"})

    def close(self) -> None:
        """Close the tracker, if there is one."""
        if self.tracker is not None:
            self.tracker.close()

"""Finished rounds of a measurement on disk, so that an interrupted one continues where it stopped.

A JSON Lines file: a header that identifies what was measured, then one line per round (a list) and one per note (an
object). A file with another header is stale.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from efficientformer.errors import RecordError
from efficientformer.formats.values import Samples
from efficientformer.reading import read_lines, shown_path
from efficientformer.records import append_line, digest, write_text

FORMAT = 2
ROUND_OR_NOTE: Any = Samples | dict[str, Any]


class PartialRounds:
    """The rounds taken so far of candidates called `names`; without a path they are kept in memory only.

    `about` is everything the samples depend on; rounds of a file about something else are discarded. `notes` are JSON
    values about how the first rounds were taken, which later rounds need.
    """

    def __init__(self, path: Path | None, about: Any, names: Sequence[str]) -> None:
        self._path = path
        self._names = list(names)
        self._header = {"format": FORMAT, "digest": digest([about, self._names])}
        self.rounds: list[list[float]] = []
        self.notes: dict[str, Any] = {}
        if path is not None:
            self._continue(path)

    def add(self, samples_ms: Mapping[str, float]) -> None:
        """Keep one finished round."""
        row = [samples_ms[name] for name in self._names]
        self.rounds.append(row)
        self._write(row)

    def note(self, **values: Any) -> None:
        """Keep JSON values with the rounds."""
        self.notes.update(values)
        self._write(values)

    def samples_ms(self) -> dict[str, list[float]]:
        """Every sample of each candidate, in order of rounds."""
        return {name: [row[index] for row in self.rounds] for index, name in enumerate(self._names)}

    def _write(self, line: Any) -> None:
        if self._path is not None:
            append_line(self._path, line)

    def _continue(self, path: Path) -> None:
        lines: list[Any] = read_lines(path, ROUND_OR_NOTE, header=self._header)
        if any(isinstance(line, list) and len(line) != len(self._names) for line in lines):
            raise RecordError(f"{shown_path(path)} has rounds of other networks. Delete it to measure them again.")
        # Rewritten in either case: the next line must not be appended to one that a crash cut short.
        write_text(path, "".join(json.dumps(line) + "\n" for line in (self._header, *lines)))
        for line in lines:
            if isinstance(line, dict):
                self.notes.update(line)
            else:
                self.rounds.append(line)

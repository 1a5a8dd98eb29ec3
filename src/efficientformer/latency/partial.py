"""Finished rounds of a measurement on disk, so that an interrupted one goes on where it stopped.

A JSON Lines file: a header that says what was measured, then one line per round. A file with another header is stale.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from efficientformer.records import append_line, digest, read_lines, write_text


class PartialRounds:
    """The rounds taken so far of candidates called `names`; without a path they live in memory only.

    `about` is everything the samples depend on; rounds of a file about something else are discarded.
    """

    def __init__(self, path: Path | None, about: Any, names: Sequence[str]) -> None:
        self._path = path
        self._names = list(names)
        self._header = {"digest": digest([about, self._names])}
        self.rounds: list[list[float]] = []
        if path is not None:
            self._continue(path)

    def add(self, samples_ms: dict[str, float]) -> None:
        """Keep one finished round."""
        row = [samples_ms[name] for name in self._names]
        self.rounds.append(row)
        if self._path is not None:
            append_line(self._path, row)

    def _continue(self, path: Path) -> None:
        header, *rounds = read_lines(path) or [None]
        if header == self._header:
            self.rounds = rounds
        # Written anew in either case: a line that a crash cut short must not swallow the next one.
        write_text(path, "")
        for line in (self._header, *self.rounds):
            append_line(path, line)

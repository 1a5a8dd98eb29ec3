"""Measurements of the command line that are interrupted, and what they leave behind."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from efficientformer.pipeline.run.console import ProgressUpdate, RunConsole


def interrupting_after(count: int) -> Callable[..., Any]:
    """A `RunConsole.progress` that interrupts after so many rounds of measuring."""
    rounds = 0

    @contextlib.contextmanager
    def progress(_: RunConsole, description: str) -> Iterator[ProgressUpdate]:
        def update(*_: object) -> None:
            nonlocal rounds
            rounds += description == "measuring"
            if rounds == count:
                raise KeyboardInterrupt

        yield update

    return progress


def finished_rounds(folder: Path) -> list[list[float]]:
    """Samples of the rounds that an interrupted measurement keeps in a folder."""
    (partial,) = folder.glob("rounds-*.partial.jsonl")
    return [line for line in map(json.loads, partial.read_text().splitlines()) if isinstance(line, list)]

"""Messages of a run on standard error: phases, and progress with the time left. Standard output is for results."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

ProgressUpdate = Callable[[int, int, str], None]
"""Call with (done, total, text)."""
LOG_EVERY_S = 60.0


class RunConsole:
    """Messages on standard error. Markup in names of files is printed as it is."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)

    def phase(self, name: str, text: str = "") -> None:
        self._console.print(f"[bold]{name:<11}[/bold] {escape(text)}" if text else f"[bold]{name}[/bold]")

    def say(self, text: str) -> None:
        self._console.print(f"{'':<11} {text}", markup=False)

    def warn(self, text: str) -> None:
        self._console.print(f"[yellow]warning[/yellow]     {escape(text)}")

    def warn_of_cores(self, wanted: Mapping[str, int]) -> None:
        """One line on the numbers of threads or processes above the cores that this process may use."""
        cores = usable_cores()
        if beyond := [f"{name} {count}" for name, count in wanted.items() if count > cores]:
            has = "1 core" if cores == 1 else f"{cores} cores"
            self.warn(f"{', '.join(beyond)}: this machine has {has}, and more than that is slower")

    @contextlib.contextmanager
    def progress(self, description: str) -> Iterator[ProgressUpdate]:
        """A progress bar with the time elapsed and left, removed at the end; in a log, a line every minute."""
        if not self._console.is_terminal:
            yield self._logged(description)
            return
        bar = Progress(
            TextColumn(f"{'':<11} {description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=self._console,
            transient=True,
        )
        with bar:
            task = bar.add_task(description, total=None, text="")

            def update(done: int, total: int, text: str = "") -> None:
                bar.update(task, completed=done, total=total, text=text)

            yield update

    def _logged(self, description: str) -> ProgressUpdate:
        started = logged = time.monotonic()
        first: int | None = None

        def update(done: int, total: int, text: str = "") -> None:
            nonlocal logged, first
            first, now = done if first is None else first, time.monotonic()
            if now - logged < LOG_EVERY_S or not first < done < total:
                return
            logged = now
            minutes_left = (now - started) / (done - first) * (total - done) / 60
            self.say(f"{description}: {text} ({done} of {total}, about {max(1, round(minutes_left))} min left)")

        return update


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

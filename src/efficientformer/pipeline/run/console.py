"""What people read in a terminal: text, never markup of this package's or of a user's making.

Messages of a run go to standard error: phases, and progress with the time left. Standard output is for results.
"""

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from efficientformer.visible import visible

ProgressUpdate = Callable[[int, int, str], None]
"""Call with (done, total, text)."""
LOG_EVERY_S = 60.0
WIDE = 110
PACE_S = 30.0
"""Over which the pace of a training is taken."""


class TextConsole(Console):
    """A console for which every string, cells of tables included, is one line of text.

    Neither rich's markup nor its emoji codes mean anything, and characters that act on a terminal are shown as escapes.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **{**options, "markup": False, "emoji": False, "highlight": False})

    def labeled(self, label: str, text: str, style: str) -> None:
        """Print a label of this package's in a style, then the text."""
        self.print(label, style=style, end=" " if text else "\n")
        if text:
            self.print(text)

    def on_broken_pipe(self) -> None:
        raise  # the program's end handles it, for every kind of output


class RunConsole:
    """Messages on standard error."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = TextConsole(stderr=True, soft_wrap=True, quiet=quiet)
        self._said: set[str] = set()

    def phase(self, name: str, text: str = "") -> None:
        self._console.labeled(f"{name:<11}" if text else name, text, "bold")

    def say(self, text: str) -> None:
        self._console.print(f"{'':<11} {text}")

    def say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def warn(self, text: str) -> None:
        self._console.labeled(f"{'warning':<11}", text, "yellow")

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
        bar = Progress(*_columns(self._console.width), console=self._console, transient=True)
        with bar:
            task = bar.add_task(f"{'':<11} {visible(description)}", total=None, text="")

            def update(done: int, total: int, text: str = "") -> None:
                bar.update(task, completed=done, total=total, text=visible(text))

            yield update

    def _logged(self, description: str) -> ProgressUpdate:
        started = logged = time.monotonic()
        first: int | None = None

        def update(done: int, total: int, text: str = "") -> None:
            nonlocal started, logged, first
            now = time.monotonic()
            if first is None:
                first, started = done, now
            if now - logged < LOG_EVERY_S or not first < done < total:
                return
            logged = now
            minutes_left = (now - started) / (done - first) * (total - done) / 60
            what = f"{description}: {text}" if text else description
            self.say(f"{what} ({done} of {total}, about {max(1, round(minutes_left))} min left)")

        return update


def _columns(width: int) -> list[ProgressColumn]:
    """What a progress bar shows on a console of this width; numbers alone where there is no room for the bar."""
    is_wide = width >= WIDE
    bar = [BarColumn(bar_width=28)] if is_wide else []
    elapsed = [TimeElapsedColumn()] if is_wide else []
    left = TimeRemainingColumn(compact=not is_wide, table_column=Column(no_wrap=True))
    return [
        TextColumn("{task.description}", markup=False),
        *bar,
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        *elapsed,
        TextColumn("left"),
        left,
        TextColumn("{task.fields[text]}", markup=False),
    ]


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pace:
    """Images a second over the last half minute, or over two steps that take longer.

    step_size: images of a step, those of all processes. clock: seconds.
    """

    def __init__(self, step_size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._step_size, self._clock = step_size, clock
        self._taken: deque[tuple[float, int]] = deque()

    def after(self, step: int) -> str:
        """In words, after so many steps; nothing after the first of a process, whose beginning is not known."""
        now = self._clock()
        self._taken.append((now, step))
        while len(self._taken) > 2 and self._taken[1][0] <= now - PACE_S:
            self._taken.popleft()
        began, first = self._taken[0]
        if now <= began:
            return ""
        images_s = (step - first) * self._step_size / (now - began)
        return f"{images_s:,.0f} images/s" if images_s >= 10 else f"{images_s:.1f} images/s"

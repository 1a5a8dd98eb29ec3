"""`--help`: the settings that a verb reads, in named groups, with the values that it would use.

A verb of a run accepts every setting, since the run remembers it for later phases. Its help shows those that its own
phases read. Their values come from the arguments before `--help`, the run directory and the preset.
"""

import ast
import inspect
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from cyclopts import App, CycloptsError
from cyclopts.help import HelpEntry, HelpPanel
from rich.console import Console, ConsoleOptions

from efficientformer.arch.resolution import resolution_text
from efficientformer.cli.options import SHORT_FLAGS, RunOptions
from efficientformer.cli.printing import print_lines
from efficientformer.errors import EfficientFormerError
from efficientformer.formats.values import DENSE_TASKS
from efficientformer.pipeline.run import plan
from efficientformer.pipeline.run.open_run import RunRequest, design_request, fine_tune_request
from efficientformer.pipeline.run.resolve_settings import with_given
from efficientformer.pipeline.run.settings import FINER_DEFAULTS, Settings, leaves
from efficientformer.pipeline.settings.teacher import OF_TEACHER

PHASES_OF_VERBS = {
    "design": (
        *(plan.TABLE, plan.SUPERNET, plan.SLIM, plan.TRAIN, plan.EVALUATE, plan.EXPORT),
        *(plan.REFERENCE, plan.VERIFY),
    ),
    # With --init it also scores, exports and times.
    "train": (plan.TRAIN, plan.FINE_TUNE, plan.EVALUATE, plan.EXPORT, plan.TIME),
    **{phase.name: (phase,) for phase in plan.PHASES if phase is not plan.TRAIN},
}
GROUPS = {
    "Images": ("data", "task", "skip_bad", "val_fraction", "max_pixels", "resolution", "crop"),
    "Budget": ("budget", "percentile", "limits"),
    "Device": (
        *("runtime", "threads", "clock", "device", "device_program", "device_cores", "litert_python"),
        *("table", "verify"),
    ),
    "Parent": ("parent",),
    "Search": ("space", "supernet_from", "supernet", "slim", "baselines", "rank"),
    "Training": (
        *("train", "seed", "workers", "training_threads", "training_processes", "training_device", "track"),
        *("semantic", "detection", "instance", "reference", "reference_weights"),
    ),
    "Export": ("export",),
}
FALLBACK_WIDTH, LARGEST_WIDTH, LEFT = 100, 120, 28


def shown_settings(verb: str, settings: Settings) -> set[str]:
    """Dotted names of the settings that a verb of a run reads: of a supernet, or of the parent that takes its place,
    and of a teacher where there is one."""
    names = {"preset"}.union(*(phase.shown_settings for phase in PHASES_OF_VERBS[verb]))
    if verb == "design":  # which has --init and --weights
        names -= {"parent.init", "parent.weights"}
        if settings.task not in DENSE_TASKS:
            names -= {"skip_bad", *leaves("semantic")}
        if settings.parent.init is None:  # supernet --help and train --help have them
            names -= {name for name, value in FINER_DEFAULTS.items() if attrgetter(name)(settings) == value}
    if settings.reference is None:
        names -= {"reference_weights"}
    if settings.train.teacher is None:
        names -= {f"train.{name}" for name in OF_TEACHER}
    if settings.parent.init is None:
        return names - set(leaves("parent")) | (names & {"parent.init", "parent.weights"})
    return names - set(leaves("supernet")) | (names & {"supernet.held_out"})


def print_help(app: App, arguments: Sequence[str]) -> None:
    """Print the help of the verb in the arguments, or of the program."""
    tokens = [token for token in arguments if token not in app.help_flags]
    chain, apps, _ = app.parse_commands(tokens)
    verb = " ".join(chain)
    settings = _settings_used(app, tokens) if verb in PHASES_OF_VERBS else None
    app.help_formatter = _Help(verb, settings, list(apps)[-1].default_command)
    app.help_print(tokens)


def _settings_used(app: App, tokens: Sequence[str]) -> Settings:
    """The settings that a run would use with these arguments; those of a new run if they are wrong or incomplete."""
    try:
        _, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
        options = bound.arguments.get("options", RunOptions())
        settings, init = bound.arguments.get("settings", Settings()), bound.arguments.get("init")
        if init is not None and tokens[0] == "train":
            return fine_tune_request(init, settings, options.run_dir, options.config).resolved()
        if init is not None:
            parent = with_given(Settings, settings, {"parent": {"init": init}})
            return design_request(parent, options.run_dir, options.config).resolved()
        return RunRequest(settings, options.run_dir, options.config).resolved()
    except (CycloptsError, EfficientFormerError):
        return RunRequest().resolved()


class _Help:
    """Renders help as plain rows. For a verb of a run, these are the settings that it reads, with their values."""

    def __init__(self, verb: str, settings: Settings | None, command: Callable[..., Any] | None) -> None:
        self._settings = settings
        self._shown = shown_settings(verb, settings) if settings is not None else set()
        self._command = command
        self._width = min(LARGEST_WIDTH, shutil.get_terminal_size((FALLBACK_WIDTH, 24)).columns)

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        self._print(console, [" ".join(_plain(usage).split()), ""])

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        text = inspect.getdoc(self._command) if self._command else _plain(description)
        paragraphs = (text or "").partition("\nParameters\n")[0].strip().split("\n\n")
        lines: list[str] = []
        for paragraph in paragraphs:
            if paragraph.startswith("    "):
                lines += paragraph.splitlines()
            else:
                lines += [*([""] if lines else []), *textwrap.wrap(paragraph, self._width)]
        self._print(console, [*lines, ""])

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        entries = [entry for entry in panel.entries if self._is_shown(entry)]
        if self._settings is None or panel.format == "command":
            self._print_group(console, panel.title, entries)
            return
        of_groups = {name: [entry for entry in entries if _group(entry) == name] for name in GROUPS}
        own = [entry for entry in entries if _group(entry) is None]
        for title, members in {"Run": own, **of_groups}.items():
            self._print_group(console, title, members)

    def _is_shown(self, entry: HelpEntry) -> bool:
        name = _setting(entry)
        return self._settings is None or name not in leaves() or name in self._shown

    def _print_group(self, console: Console, title: Any, entries: Iterable[HelpEntry]) -> None:
        rows = [line for entry in entries for line in self._row(entry)]
        if rows:
            self._print(console, [str(title), *rows, ""])

    def _row(self, entry: HelpEntry) -> list[str]:
        default = self._default(entry)
        text = " ".join(filter(None, [_first_sentence(entry), _choices(entry), default]))
        wrapped = textwrap.wrap(text, self._width - LEFT - 2, break_on_hyphens=False) or [""]
        label, indent = f"  {_label(entry, has_value=not default)}", " " * (LEFT + 2)
        first = [label, indent + wrapped[0]] if len(label) > LEFT + 1 else [label.ljust(LEFT + 2) + wrapped[0]]
        return [*first, *(indent + line for line in wrapped[1:])]

    def _default(self, entry: HelpEntry) -> str:
        name = _setting(entry)
        if self._settings is not None and name in leaves():
            value = attrgetter(name)(self._settings)
            if name == "clock":
                value = self._settings.latency_clock
            if name == "resolution":
                return f"[{resolution_text(self._settings.resolution)}]"
            return f"[{in_words(value)}]" if value is not None else ""
        try:
            default = in_words(ast.literal_eval(str(entry.default)))
        except (ValueError, SyntaxError):  # text that is no Python literal
            default = str(entry.default)
        return f"[{default}]" if default not in ("None", "off", "") else ""

    def _print(self, _: Console, lines: Iterable[str]) -> None:
        print_lines(map(str.rstrip, lines))


def in_words(value: Any) -> str:
    """The value of a setting as it is written on the command line."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        return " ".join(map(in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(renderable: Any) -> str:
    """The plain text of a cyclopts renderable."""
    if renderable is None:
        return ""
    console = Console(width=10_000, highlight=False, markup=False, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get().strip()


def _setting(entry: HelpEntry) -> str:
    """The dotted name of an entry's option, as a setting would have it."""
    name = entry.positive_names[0] if entry.positive_names else ""
    return name.removeprefix("--").replace("-", "_")


def _group(entry: HelpEntry) -> str | None:
    top = _setting(entry).partition(".")[0]
    return next((group for group, names in GROUPS.items() if top in names), None)


def _label(entry: HelpEntry, *, has_value: bool) -> str:
    """`--data STR`, `--export.[no-]autotune`, `MODEL`; an option with a default is shown without a type."""
    if entry.positional_label:
        return entry.positional_label
    if entry.negative_names:
        group, _, name = entry.positive_names[0].rpartition(".")
        return f"{group}.[no-]{name}" if group else f"--[no-]{name.removeprefix('--')}"
    value = entry.metavar if entry.metavar and has_value and not entry.choices else ""
    short = [short for short, full in SHORT_FLAGS.items() if full in entry.positive_names]
    return " ".join(filter(None, [*entry.positive_shorts, *entry.positive_names, *short, value]))


def _choices(entry: HelpEntry) -> str:
    return f"{{{', '.join(entry.choices)}}}" if entry.choices else ""


def _first_sentence(entry: HelpEntry) -> str:
    text = " ".join(_plain(entry.description).split())
    return re.split(r"\.(?:\s|$)", text, maxsplit=1)[0]

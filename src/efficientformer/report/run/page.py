"""The page of a run directory: its sections, each filled from records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficientformer.errors import EfficientFormerError
from efficientformer.records import write_text
from efficientformer.report.frame import Note, Section, page_environment, render_sections
from efficientformer.report.run import evaluation_sections, record_sections, result_sections, trained_sections
from efficientformer.report.run.load import RECORDS, Run, load_run
from efficientformer.run_dir import RunDir

if TYPE_CHECKING:
    from jinja2 import Environment


def _always(_: Run) -> bool:
    return True


def _of_design(run: Run) -> bool:
    return not run.is_training


def _has(name: str) -> Callable[[Run], bool]:
    """Whether a run has a record that not every run has."""
    return lambda run: run.get(name) is not None or RECORDS[name].path in run.unreadable


def _has_examples(run: Run) -> bool:
    return bool(run.task.image_title) and any(network.get("evaluation") for network in run.networks)


@dataclass(frozen=True)
class SectionKind:
    """A section of the page: its name (an anchor, and its template where that has no other), title, main record, the
    function that fills it, and the runs that have it."""

    name: str
    title: str
    record: str
    fill: Callable[[Run], dict[str, Any]]
    belongs: Callable[[Run], bool] = _always
    template: str = ""

    @property
    def file(self) -> str:
        return f"sections/{self.template or self.name}.html.j2"


SECTIONS = (
    SectionKind("headline", "Promise", "result", result_sections.headline, _of_design),
    SectionKind("headline", "Result", "data", trained_sections.trained, lambda run: run.is_training, "trained"),
    SectionKind("plane", "Latency and accuracy", "result", result_sections.plane, _of_design),
    SectionKind("slimming", "Slimming path", "trace", result_sections.slimming, _of_design),
    SectionKind("baselines", "Comparison with baselines", "baselines", result_sections.baselines, _has("baselines")),
    SectionKind("architectures", "Networks found", "trace", result_sections.architectures, _of_design),
    SectionKind("supernet", "Supernet", "supernet", record_sections.supernet, _of_design),
    SectionKind("latency_table", "Latency table", "table", record_sections.latency_table, _of_design),
    SectionKind("training", "Training", "result", record_sections.training),
    SectionKind("evaluation", "Evaluation", "result", evaluation_sections.evaluation),
    SectionKind("examples", "Best and worst images", "data", evaluation_sections.examples, _has_examples),
    SectionKind("architectures", "Network", "data", result_sections.architectures, lambda run: run.is_training),
    SectionKind("data", "Data", "data", record_sections.data),
    SectionKind("machine", "Machine, versions, settings", "settings", record_sections.machine),
)


def render_report(run_dir: Path, out_of_date: Sequence[tuple[str, str]] = ()) -> Path:
    """Write `report.html` of a run directory, from its records alone, and return its path.

    out_of_date: records that do not fit the rest of the run, each as a text and the verb that makes it again.

    The page works offline. Raises RecordError when there is no record to show or the page cannot be written.
    """
    run = load_run(Path(run_dir))
    path = RunDir(run.run_dir).report
    write_text(path, render_page(run, out_of_date))
    return path


def render_page(run: Run, out_of_date: Sequence[tuple[str, str]] = ()) -> str:
    environment = page_environment()
    sections = [build_section(environment, run, kind) for kind in SECTIONS if kind.belongs(run)]
    first = sections[0]
    notes = tuple(Note(text, run.command(verb)) for text, verb in out_of_date)
    sections[0] = replace(first, notes=(*first.notes, *notes))
    return render_sections(environment, "report.html.j2", sections, run_name=run.run_dir.name)


def build_section(environment: "Environment", run: Run, kind: SectionKind) -> Section:
    """Fill one section. If a record has an unexpected form, its sections have a note instead of their content."""
    from jinja2 import TemplateError

    try:
        content = kind.fill(run)
        notes = tuple(content.pop("notes"))
        template = environment.get_template(kind.file)
        return Section(kind.name, kind.title, template.render(content=content) if content else "", notes)
    except (EfficientFormerError, LookupError, TypeError, ValueError, AttributeError, TemplateError) as error:
        record = RECORDS[kind.record]
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        text = f"{record.path}, or another record of this section, does not have the expected form: {reason}."
        return Section(kind.name, kind.title, "", (Note(text, run.command(record.verb)),))

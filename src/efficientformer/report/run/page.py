"""The page of a run directory: its sections, each filled from records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficientformer.errors import EfficientFormerError
from efficientformer.records import write_text
from efficientformer.report.frame import Note, Section, page_environment, render_sections
from efficientformer.report.run import record_sections, result_sections
from efficientformer.report.run.load import RECORDS, Run, load_run
from efficientformer.run_dir import RunDir

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class SectionKind:
    """A section of the page: its name (anchor and template), title, main record, and the function that fills it."""

    name: str
    title: str
    record: str
    fill: Callable[[Run], dict[str, Any]]
    is_optional: bool = False
    """Left out while its record is missing: not every run has it."""

    def belongs(self, run: Run) -> bool:
        path = RECORDS[self.record].path
        return not self.is_optional or run.get(self.record) is not None or path in run.unreadable


SECTIONS = (
    SectionKind("headline", "Promise", "result", result_sections.headline),
    SectionKind("plane", "Latency and accuracy", "result", result_sections.plane),
    SectionKind("slimming", "Slimming path", "trace", result_sections.slimming),
    SectionKind("baselines", "Comparison with baselines", "baselines", result_sections.baselines, is_optional=True),
    SectionKind("architectures", "Networks found", "trace", result_sections.architectures),
    SectionKind("supernet", "Supernet", "supernet", record_sections.supernet),
    SectionKind("latency_table", "Latency table", "table", record_sections.latency_table),
    SectionKind("training", "Training", "result", record_sections.training),
    SectionKind("evaluation", "Evaluation", "result", record_sections.evaluation),
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
        template = environment.get_template(f"sections/{kind.name}.html.j2")
        return Section(kind.name, kind.title, template.render(content=content) if content else "", notes)
    except (EfficientFormerError, LookupError, TypeError, ValueError, AttributeError, TemplateError) as error:
        record = RECORDS[kind.record]
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        text = f"{record.path}, or another record of this section, does not have the expected form: {reason}."
        return Section(kind.name, kind.title, "", (Note(text, run.command(record.verb)),))

"""The report page: sections filled from records, one template, one script bundle, nothing fetched.

Two walls stand between the strings of records and the page: Jinja escapes all of them, and the page's content security
policy lets only its own two scripts run.
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efficientformer.errors import EfficientFormerError
from efficientformer.records import write_text
from efficientformer.report import record_sections, result_sections, style, wording
from efficientformer.report.load import Note, Run, load_run

REPORT_NAME = "report.html"
# Each section: its name (also its template and anchor), its title, and what fills it.
SECTIONS: tuple[tuple[str, str, Callable[[Run], dict[str, Any]]], ...] = (
    ("headline", "Promise", result_sections.headline),
    ("plane", "Latency and accuracy", result_sections.plane),
    ("slimming", "Slimming path", result_sections.slimming),
    ("architectures", "Networks found", result_sections.architectures),
    ("supernet", "Paths of the supernet", record_sections.supernet),
    ("latency_table", "Latency table", record_sections.latency_table),
    ("training", "Training", record_sections.training),
    ("evaluation", "Evaluation", record_sections.evaluation),
    ("data", "Data", record_sections.data),
    ("machine", "Machine, versions, settings", record_sections.machine),
)


@dataclass(frozen=True)
class Section:
    """One part of the page. Without content there is only the note that says why."""

    name: str
    title: str
    content: dict[str, Any] | None
    notes: tuple[Note, ...]


def render_report(run_dir: Path) -> Path:
    """Write `report.html` of a run directory from its records alone and return its path.

    The page needs no network. Raises RecordError when there is no record to show or the page cannot be written.
    """
    run = load_run(Path(run_dir))
    path = run.run_dir / REPORT_NAME
    write_text(path, render_page(run))
    return path


def render_page(run: Run) -> str:
    import vl_convert

    sections = [build_section(run, *section) for section in SECTIONS]
    environment = _environment()
    bundle = vl_convert.javascript_bundle().replace("</script", "<\\/script")
    script = environment.loader.get_source(environment, "report.js")[0]  # type: ignore[union-attr]
    return environment.get_template("report.html.j2").render(
        sections=sections,
        run_name=run.run_dir.name,
        bundle=bundle,
        script=script,
        script_hashes=[_csp_hash(bundle), _csp_hash(script)],
        colors=style.COLORS,
        shapes=style.SHAPES,
        num_series=style.NUM_SERIES,
    )


def build_section(run: Run, name: str, title: str, fill: Callable[[Run], dict[str, Any]]) -> Section:
    """Fill one section. Records of an unexpected shape cost their section only, and the section says so."""
    try:
        content = fill(run)
    except (EfficientFormerError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = error if isinstance(error, EfficientFormerError) else repr(error)
        text = f"This section could not be drawn, because a record it needs has an unexpected form: {reason}"
        return Section(name, title, None, (Note(text),))
    return Section(name, title, content, tuple(content.pop("notes")))


def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("efficientformer.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "allow_nan": False, "separators": (",", ":")}
    filters = (wording.ms, wording.interval, wording.percent, wording.count, wording.scaled, wording.duration)
    environment.filters.update({function.__name__: function for function in filters})
    environment.globals.update(series_shape=style.series_shape, runtime=wording.runtime, absent=wording.ABSENT)
    return environment


def _csp_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"

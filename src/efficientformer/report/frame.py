"""The frame of all report pages: sections filled from records, one template, one script bundle, no network access.

Three measures keep strings of records what they are: Jinja escapes all of them, characters that act on a line or a
screen are written as escapes, and the content security policy of the page allows its own two scripts only.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from efficientformer.report import style, wording
from efficientformer.visible import visible

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Note:
    """Something that a section cannot show, and the command that creates it."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class Section:
    """A section of a page: its filled template, and notes on what could not be shown."""

    name: str
    title: str
    body: str
    notes: tuple[Note, ...]


def render_sections(environment: "Environment", template: str, sections: list[Section], **names: str) -> str:
    """Render a page of filled sections; `template` is report.html.j2 or extends it, `names` are its variables."""
    import vl_convert

    bundle = vl_convert.javascript_bundle(vl_version=style.vegalite_version())  # pyright: ignore[reportCallIssue]
    bundle = bundle.replace("</script", "<\\/script")
    script = environment.get_template("report.js").render()
    return environment.get_template(template).render(
        sections=sections,
        bundle=bundle,
        script=script,
        script_hashes=[_csp_hash(bundle), _csp_hash(script)],
        colors=style.COLORS,
        **names,
    )


def page_environment() -> "Environment":
    """Templates and filters of all pages, with autoescaping."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("efficientformer.report"),
        autoescape=True,
        finalize=_as_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "allow_nan": False, "separators": (",", ":")}
    filters = (
        *(wording.ms, wording.interval, wording.percent, wording.count, wording.scaled, wording.duration),
        *(wording.confidence, wording.input_size),
    )
    environment.filters.update({function.__name__: function for function in filters})
    environment.globals.update(
        absent=wording.ABSENT, shapes=style.SHAPES, num_series=style.NUM_SERIES, series_shape=style.series_shape
    )
    return environment


def _as_text(value: Any) -> Any:
    """Strings of records as text; markup of templates is a class of its own, and stays."""
    return visible(value) if type(value) is str else value


def _csp_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"

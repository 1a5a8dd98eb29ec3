"""The common style of pages, charts and drawings: a palette of CSS variables that the page defines and charts use.

Charts contain `var(--ink)` instead of a color, so the same chart serves light mode, dark mode and print. Hues are Okabe
and Ito's, which all common kinds of color vision can distinguish; every hue also has its own shape or dash pattern.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from efficientformer.visible import visible

FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'Helvetica Neue', Arial, sans-serif"
# name: (on light paper, on dark paper)
COLORS = {
    "paper": ("#ffffff", "#14171b"),
    "wash": ("#f4f5f7", "#1d2126"),
    "ink": ("#1b1e23", "#e7e9ec"),
    "muted": ("#59616b", "#a0a9b4"),
    "line": ("#d9dde2", "#363c45"),
    "link": ("#005a8e", "#7cc4ee"),
    "good": ("#00664a", "#3ecfa4"),
    "bad": ("#a84300", "#f59a5b"),
    "heat": ("#0072b2", "#56b4e9"),
    "mb4d": ("#56b4e9", "#56b4e9"),
    "mb3d": ("#e69f00", "#e69f00"),
    "ffn": ("#56b4e9", "#56b4e9"),
    "mhsa": ("#e69f00", "#e69f00"),
    "attnffn": ("#e69f00", "#e69f00"),
    "on-block": ("#10151a", "#10151a"),
    "series-0": ("#0072b2", "#56b4e9"),
    "series-1": ("#d55e00", "#e8702a"),
    "series-2": ("#009e73", "#22b68c"),
    "series-3": ("#cc79a7", "#cc79a7"),
    "series-4": ("#b07a00", "#e69f00"),
    "series-5": ("#56b4e9", "#0072b2"),
    "pale-1": ("#f0b993", "#8a4a22"),
    "pale-2": ("#8fd3bd", "#1b6b54"),
    "pale-muted": ("#b4bac2", "#5d656f"),
}
NUM_SERIES = sum(name.startswith("series-") for name in COLORS)
DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2], [10, 4], [3, 5])
# Symbol names of Vega, and the same shapes as SVG paths in a box from -6 to 6, for legends.
SHAPES = {
    "circle": "M-4.5,0A4.5,4.5 0 1 1 4.5,0A4.5,4.5 0 1 1 -4.5,0Z",
    "square": "M-4,-4H4V4H-4Z",
    "triangle-up": "M0,-5L5,4H-5Z",
    "diamond": "M0,-5.5L4.5,0L0,5.5L-4.5,0Z",
    "cross": "M-1.7,-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5V-1.7H-1.7Z",
    "triangle-down": "M0,5L-5,-4H5Z",
}


def var(name: str) -> str:
    assert name in COLORS
    return f"var(--{name})"


def series_color(index: int) -> str:
    return var(f"series-{index % NUM_SERIES}")


def series_shape(index: int) -> str:
    """A shape for each series; when colors repeat, their shapes differ."""
    return tuple(SHAPES)[(index + index // NUM_SERIES) % len(SHAPES)]


def series_dash(index: int) -> list[int]:
    return DASHES[index % len(DASHES)]


@dataclass(frozen=True)
class LegendEntry:
    """One line of a legend; `mark` is a name in SHAPES, "ring" or "line" (with its dashes)."""

    label: str
    color: str
    mark: str
    dash: tuple[int, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A chart ready for the page: a Vega-Lite specification with its description, and its legend."""

    name: str
    spec: dict[str, Any]
    legend: tuple[LegendEntry, ...] = ()

    @property
    def alt(self) -> str:
        return self.spec["description"]


def finish(name: str, chart: Any, alt_text: str, height: int, legend: tuple[LegendEntry, ...] = ()) -> Figure:
    """Give a chart the common style and the width of its container. Raises ValueError if a value is NaN."""
    chart = chart.properties(width="container", height=height, description=alt_text, background="transparent")
    # Comparing charts with the schema of Vega-Lite took a quarter of a page's time: tests do it (`checked_charts`).
    spec = _as_text(chart.to_dict(validate=False))
    spec["config"] = _config()
    json.dumps(spec, allow_nan=False)
    return Figure(name, spec, legend)


def _as_text(value: Any) -> Any:
    """Every string of a specification as text: names of records are drawn from it."""
    if isinstance(value, dict):
        return {visible(key): _as_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_text(item) for item in value]
    return visible(value) if isinstance(value, str) else value


def to_svg(figure: Figure, width: int) -> str:
    """The figure as SVG text in the light palette, drawn without a browser."""
    import vl_convert

    spec = _in_light_colors(json.dumps({**figure.spec, "width": width}))
    chart = vl_convert.vegalite_to_svg(spec, vl_version=vegalite_version())
    return _with_legend(chart, figure)


def _with_legend(chart: str, figure: Figure) -> str:
    """Put a drawn chart on a background, above its legend in two columns."""
    drawn = ElementTree.fromstring(chart)
    width, height = float(drawn.attrib["width"]) + 24, float(drawn.attrib["height"]) + 24
    rows = -(-len(figure.legend) // 2)
    total = height + 20 * rows + (12 if rows else 0)
    size = {"width": f"{width:g}", "height": f"{total:g}", "viewBox": f"0 0 {width:g} {total:g}"}
    words = {"role": "img", "aria-label": figure.alt, "xmlns": "http://www.w3.org/2000/svg"}
    page = ElementTree.Element("svg", {**size, **words})
    ElementTree.SubElement(page, "rect", {"width": "100%", "height": "100%", "fill": COLORS["paper"][0]})
    for index, entry in enumerate(figure.legend):
        x, y = 24 + (width - 24) / 2 * (index // rows), height + 10 + 20 * (index % rows)
        group = ElementTree.SubElement(page, "g", {"transform": f"translate({x:g},{y:g})"})
        ElementTree.SubElement(group, "path", _legend_mark(entry))
        look = {"x": "16", "y": "4", "font-size": "12", "font-family": FONT, "fill": COLORS["ink"][0]}
        ElementTree.SubElement(group, "text", look).text = entry.label
    frame = ElementTree.tostring(page, encoding="unicode").removesuffix("</svg>")
    return f'{frame}<g transform="translate(12,12)">{chart}</g></svg>\n'


def _legend_mark(entry: LegendEntry) -> dict[str, str]:
    color = _in_light_colors(entry.color)
    if entry.mark in SHAPES:
        return {"d": SHAPES[entry.mark], "fill": color}
    line = {"d": "M-9,0H9" if entry.mark == "line" else SHAPES["circle"], "stroke": color, "fill": "none"}
    return {**line, "stroke-width": "1.8", "stroke-dasharray": " ".join(map(str, entry.dash)) or "none"}


def _in_light_colors(text: str) -> str:
    return re.sub(r"var\(--([a-z0-9-]+)\)", lambda match: COLORS[match[1]][0], text)


def vegalite_version() -> str:
    """The version of Vega-Lite that altair writes, in the form that vl_convert expects: 6.4."""
    import altair as alt

    return alt.SCHEMA_VERSION.removeprefix("v").rsplit(".", 1)[0]


def rounded(value: float | None, digits: int = 5) -> float | None:
    """`value` rounded to `digits` significant digits: enough for a chart, and pages stay small."""
    if value is None or value == 0 or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def _config() -> dict[str, Any]:
    return {
        "font": FONT,
        "view": {"stroke": None},
        "padding": {"left": 2, "right": 10, "top": 4, "bottom": 2},
        "axis": {
            "labelColor": var("muted"),
            "titleColor": var("muted"),
            "labelFontSize": 11,
            "titleFontSize": 11.5,
            "titleFontWeight": "normal",
            "titlePadding": 8,
            "labelPadding": 5,
            "labelLimit": 130,
            "domainColor": var("line"),
            "tickColor": var("line"),
            "gridColor": var("line"),
            "gridOpacity": 0.6,
            "tickSize": 4,
        },
        "axisX": {"grid": False, "labelFlush": False, "labelOverlap": True, "labelSeparation": 5},
        "axisY": {
            "domain": False,
            "ticks": False,
            "titleAlign": "left",
            "titleAngle": 0,
            "titleX": 0,
            "titleY": -12,
            "titleBaseline": "bottom",
        },
        "legend": {"disable": True},
        "text": {"fill": var("ink"), "fontSize": 11.5},
    }

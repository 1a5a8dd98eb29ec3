"""Figures of the README as small SVG files: the same records give the same bytes.

Colors follow light and dark mode. Machines have a shape and a color each, so either identifies them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

STYLE = """
text { font: 12px system-ui, -apple-system, 'Segoe UI', 'Noto Sans', Arial, sans-serif; fill: #1b1e23 }
.small { font-size: 11px; fill: #59616b } .strong { font-weight: 600 }
.frame { fill: none; stroke: #d9dde2 } .grid { stroke: #d9dde2 } .bar { stroke: #59616b; stroke-dasharray: 4 3 }
.band { fill: #f4f5f7 } .median { stroke: #1b1e23; stroke-width: 2 } .open { fill-opacity: 0.15 }
.m0 { fill: #0072b2; stroke: #0072b2 } .m1 { fill: #d55e00; stroke: #d55e00 } .m2 { fill: #009e73; stroke: #009e73 }
.m3 { fill: #b4528c; stroke: #b4528c }
@media (prefers-color-scheme: dark) {
 text { fill: #e7e9ec } .small { fill: #a0a9b4 } .frame { stroke: #363c45 } .grid { stroke: #363c45 }
 .bar { stroke: #a0a9b4 } .band { fill: #1d2126 } .median { stroke: #e7e9ec }
 .m0 { fill: #56b4e9; stroke: #56b4e9 } .m1 { fill: #e8702a; stroke: #e8702a } .m2 { fill: #22b68c; stroke: #22b68c }
 .m3 { fill: #cc79a7; stroke: #cc79a7 }
}
"""
FOOT = "predicted ms; up: measured above prediction in %; shaded: within 5 %"
SHAPES = ("circle", "square", "triangle", "diamond")


class Svg:
    """An SVG file under construction; y grows downwards."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            f' role="img" aria-label={quoteattr(title)}>\n<style>{STYLE}</style>'
        )
        self._items: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        self._items.append(
            f'<text x="{number(x)}" y="{number(y)}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def line(self, start: tuple[float, float], end: tuple[float, float], kind: str) -> None:
        (x1, y1), (x2, y2) = start, end
        self._items.append(
            f'<line x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}" class="{kind}"/>'
        )

    def rect(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        box = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        self._items.append(f'<rect {box} class="{kind}"/>')

    def polygon(self, points: Iterable[tuple[float, float]], kind: str) -> None:
        places = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self._items.append(f'<polygon points="{places}" class="{kind}"/>')

    def mark(self, x: float, y: float, index: int, size: float = 4.5, kind: str = "") -> None:
        """The mark of a machine, by its number."""
        name, shape = f"m{index} {kind}".strip(), SHAPES[index]
        if shape == "circle":
            self._items.append(f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(size)}" class="{name}"/>')
        elif shape == "square":
            self.rect(x - 0.85 * size, y - 0.85 * size, 1.7 * size, 1.7 * size, name)
        elif shape == "triangle":
            self.polygon([(x, y - size), (x + size, y + 0.8 * size), (x - size, y + 0.8 * size)], name)
        else:
            self.polygon([(x, y - 1.2 * size), (x + size, y), (x, y + 1.2 * size), (x - size, y)], name)

    def legend(self, x: float, y: float, titles: Sequence[tuple[int, str]]) -> None:
        for index, title in titles:
            self.mark(x, y - 4, index)
            self.text(x + 10, y, title, "small")
            x += 34 + 5.8 * len(title)

    def finished(self) -> str:
        return "\n".join([self._head, *self._items, "</svg>"]) + "\n"


def number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` on pixels from `start` to `end`, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(v) if self.is_log else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * min(1.0, max(0.0, (value - low) / (high - low)))

    def ticks(self, svg: Svg, values: Sequence[float], bottom: float, top: float) -> None:
        for value in values:
            svg.line((self(value), top), (self(value), bottom), "grid")
            svg.text(self(value), bottom + 14, f"{value:g}", "small", "middle")


@dataclass(frozen=True)
class Point:
    """A value in a row of a dot plot; `mark` is the number of its shape and color."""

    value: float
    mark: int
    interval: tuple[float, float] | None = None
    is_open: bool = False


@dataclass(frozen=True)
class Row:
    label: str
    points: Sequence[Point]
    bar: float | None = None
    median: float | None = None


def dot_rows(svg: Svg, rows: Sequence[Row], axis: Axis, top: float, height: float, label_x: float | None) -> float:
    """Draw rows of dots under one another, with intervals, bars and medians; returns where they end."""
    y = top
    for row in rows:
        middle = y + height / 2
        if label_x is not None:
            svg.text(label_x, middle + 4, row.label, "", "end")
        if row.bar is not None:
            svg.line((axis(row.bar), y + 2), (axis(row.bar), y + height - 2), "bar")
        if row.median is not None:
            svg.line((axis(row.median), middle - 8), (axis(row.median), middle + 8), "median")
        has_intervals = any(point.interval for point in row.points)
        gap = height / (len(row.points) + 1) if has_intervals else 0
        for place, point in enumerate(row.points, start=1):
            at = y + place * gap if has_intervals else middle
            if point.interval:
                low, high = (axis(value) for value in point.interval)
                svg.line((low, at), (high, at), f"m{point.mark}")
            svg.mark(axis(point.value), at, point.mark, 3.2 if has_intervals else 4.5, "open" if point.is_open else "")
        y += height
    return y


def draw_predictions(panels: Sequence[Sequence[tuple[str, int, Sequence[tuple[float, float]]]]], title: str) -> str:
    """Rows of panels (name, mark, (predicted, measured) in ms): by how many percent a measured latency lies above its
    prediction, over the prediction. Shaded: within 5 %."""
    across, up, gap, left, top = 216, 110, 14, 44, 30
    columns, step = max(map(len, panels)), up + 56
    svg = Svg(left + columns * (across + gap), top + len(panels) * step, title)
    for row, line in enumerate(panels):
        y = top + row * step
        off = Axis(-25, 25, y + up, y)
        for column, (name, mark, pairs) in enumerate(line):
            x = left + column * (across + gap)
            ms = Axis(min(p for p, _ in pairs) / 1.1, max(p for p, _ in pairs) * 1.1, x, x + across, is_log=True)
            svg.rect(x, off(5), across, off(-5) - off(5), "band")
            svg.line((x, off(0)), (x + across, off(0)), "bar")
            svg.rect(x, y, across, up, "frame")
            ms.ticks(svg, [v for v in (10, 20, 50, 100, 200) if ms.low < v < ms.high], y + up, y + up - 4)
            for predicted, measured in pairs:
                svg.mark(ms(predicted), off(100 * (measured / predicted - 1)), mark, 2, "open")
            svg.text(x, y - 8, name, "strong")
            for value in (-20, -5, 5, 20) if column == 0 else ():
                svg.text(x - 6, off(value) + 4, f"{value:+d}", "small", "end")
        svg.text(left + columns * (across + gap) / 2, y + up + 30, FOOT, "small", "middle")
    return svg.finished()


def draw_rows(
    rows: Sequence[Row], axis_end: tuple[float, float], ticks: Sequence[float], title: str, unit: str,
    legend: Sequence[tuple[int, str]], label_width: int = 250, row_height: int = 26,
) -> str:  # fmt: skip
    """One dot plot with labels at the left, the axis below and the legend above."""
    width, top = 760, 30
    height = top + len(rows) * row_height + 44
    svg = Svg(width, height, title)
    axis = Axis(*axis_end, label_width + 12, width - 20)
    svg.legend(label_width + 16, 16, legend)
    bottom = top + len(rows) * row_height
    axis.ticks(svg, ticks, bottom, top)
    dot_rows(svg, rows, axis, top, row_height, label_width)
    svg.text((axis.start + axis.end) / 2, bottom + 32, unit, "small", "middle")
    return svg.finished()


def draw_panels(
    panels: Sequence[tuple[str, Sequence[Row]]], axis_end: tuple[float, float], ticks: Sequence[float], title: str,
    unit: str, legend: Sequence[tuple[int, str]], row_height: int = 34,
) -> str:  # fmt: skip
    """Dot plots side by side that share their rows."""
    labels, gap, top, width = 64, 14, 50, 860
    panel = (width - labels - gap * len(panels)) / len(panels)
    count = max(len(rows) for _, rows in panels)
    bottom = top + count * row_height
    svg = Svg(width, bottom + 40, title)
    svg.legend(labels + 14, 16, legend)
    for place, (name, rows) in enumerate(panels):
        x = labels + gap + place * (panel + gap)
        axis = Axis(*axis_end, x, x + panel - 6)
        axis.ticks(svg, ticks, bottom, top)
        svg.line((axis(1), top), (axis(1), bottom), "bar")
        svg.text(x, top - 10, name, "strong")
        dot_rows(svg, rows, axis, top, row_height, labels if place == 0 else None)
    svg.text(labels + (width - labels) / 2, bottom + 32, unit, "small", "middle")
    return svg.finished()

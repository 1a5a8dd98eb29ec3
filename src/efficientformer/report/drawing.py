"""Small SVG drawings: a network by stage, over the outline of the largest network; a latency against its budget.

Shapes have classes, not colors: the style sheet of the page colors them, for light mode, dark mode and print. A drawing
is built as an XML tree, so no text of a record can become markup.
"""

from xml.etree import ElementTree

from efficientformer.arch.parts import Part, body_parts, head_part, stage_grids
from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import MB3D, MB4D, MHSA, NUM_STAGES, Architecture, Block
from efficientformer.report import wording
from efficientformer.visible import visible

COLUMN, GAP, MARGIN = 84, 14, 2
WIDTH = NUM_STAGES * COLUMN + (NUM_STAGES - 1) * GAP + 2 * MARGIN
SLAB, BLOCK, SPACE, MARKER = 18, 20, 4, 15
STARTS = ("stem", "downsample", "attention_downsample")
"""The parts that stages start with."""
TITLES = {"attention_downsample": "attn. down"}
TOP = 20  # room for the stages' names
LABEL_MIN, LABEL_MIN_V2 = 34, 66  # narrower blocks are labeled 4D, not MB4D, and x3, not FFN x3


def draw_architecture(
    architecture: Architecture, largest: Architecture | None, resolution: int | Grid, num_classes: int, title: str
) -> str:
    """The network as an `<svg>` element. The width of a block is its share of the channels of `largest`; dashed
    outlines are blocks and channels of `largest` that were removed. Blocks of EfficientFormerV2 bear their expansion.
    """
    columns = _columns(architecture, resolution, num_classes)
    grids = stage_grids(architecture.stem_strides, resolution)
    reference = largest or architecture
    svg = ElementTree.Element("svg", {"class": "architecture", "role": "img", "aria-label": visible(title)})
    bottom = max(_draw_column(svg, index, items, architecture, reference) for index, items in enumerate(columns))
    for index, grid in enumerate(grids):
        _draw_foot(svg, index, bottom, architecture.stages[index].width, reference.stages[index].width, grid)
    svg.set("viewBox", f"0 0 {WIDTH} {bottom + 46}")
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    return ElementTree.tostring(svg, encoding="unicode")


def draw_promise(
    budget_ms: float, measured_ms: float, interval_ms: tuple[float, float], end_ms: float, *, kept: bool
) -> str:
    """A measured latency as a bar with its interval, and the budget as a tick, on an axis from 0 to `end_ms`."""
    width, height = 120, 20
    words = f"{measured_ms:.3g} ms measured, {budget_ms:.3g} ms allowed"
    box = f"0 0 {width} {height}"
    svg = ElementTree.Element("svg", {"class": "promise", "role": "img", "aria-label": words, "viewBox": box})

    def place(value: float) -> float:
        return 1 + (width - 2) * min(1, value / end_ms)

    _rect(svg, 0, 8.5, width, 3, "track")
    _rect(svg, 0, 6, place(measured_ms), 8, "bar kept" if kept else "bar missed")
    low, high = interval_ms
    _line(svg, (place(low), place(high)), (10, 10), "whisker")
    _line(svg, (place(budget_ms), place(budget_ms)), (1, 19), "budget")
    return ElementTree.tostring(svg, encoding="unicode")


def _columns(architecture: Architecture, resolution: int | Grid, num_classes: int) -> list[list[Part | Block]]:
    """The blocks of every stage and the parts around them, in order; each stage starts with the stem or a downsample.
    A head, of whatever parts, is one slab."""
    columns: list[list[Part | Block]] = []
    blocks = (block for stage in architecture.stages for block in stage.blocks)
    body = body_parts(architecture, resolution)
    for part in [*body, head_part(body[-1].grid, architecture.widths[-1], num_classes)]:
        if part.kind in STARTS:
            columns.append([])
        if part.block is None:
            columns[-1].append(part)
        elif part.kind != MHSA.kind:  # the other half of its block follows
            columns[-1].append(next(blocks))
    return columns


def _draw_column(
    svg: ElementTree.Element, index: int, parts: list[Part | Block], drawn: Architecture, full: Architecture
) -> int:
    """Draw one stage and return its bottom, in pixels."""
    left, y = MARGIN + index * (COLUMN + GAP), TOP
    _text(svg, left + COLUMN / 2, 11, f"stage {index + 1}", "stage")
    width = max(14, COLUMN * min(1, drawn.stages[index].width / full.stages[index].width))
    gone = full.stages[index].depth - drawn.stages[index].depth
    last_block = max(place for place, part in enumerate(parts) if not isinstance(part, Part))
    for place, part in enumerate(parts):
        y = _draw_part(svg, part, left, y, width)
        if place == last_block:
            y = _draw_ghosts(svg, left, y, gone)
    return y


def _draw_part(svg: ElementTree.Element, part: Part | Block, left: float, y: int, width: float) -> int:
    center, kind = left + COLUMN / 2, part.kind
    if not isinstance(part, Part):
        if width < COLUMN:
            _rect(svg, left, y, COLUMN, BLOCK, "ghost")
        _rect(svg, center - width / 2, y, width, BLOCK, kind.lower())
        _text(svg, center, y + BLOCK / 2, _label(part, width), "on-block")
        return y + BLOCK + SPACE
    if kind in ("flatten", "unflatten"):
        _line(svg, (left, left + COLUMN), (y + 12.5, y + 12.5), "flatten")
        _text(svg, center, y + 5, kind, "flatten")
        return y + MARKER + SPACE
    _rect(svg, left, y, COLUMN, SLAB, "slab")
    _text(svg, center, y + SLAB / 2, TITLES.get(kind, kind), "slab")
    return y + SLAB + SPACE


def _label(block: Block, width: float) -> str:
    if isinstance(block, MB4D | MB3D):
        return block.kind if width >= LABEL_MIN else block.kind.removeprefix("MB")
    expansion = f"{wording.TIMES}{block.mlp_ratio}"
    return f"{block.kind} {expansion}" if width >= LABEL_MIN_V2 else expansion


def _draw_ghosts(svg: ElementTree.Element, left: float, y: int, number: int) -> int:
    for _ in range(number):
        _rect(svg, left, y, COLUMN, BLOCK, "ghost")
        y += BLOCK + SPACE
    return y


def _draw_foot(svg: ElementTree.Element, index: int, bottom: int, width: int, full_width: int, grid: Grid) -> None:
    center = MARGIN + index * (COLUMN + GAP) + COLUMN / 2
    channels = f"{width} of {full_width}" if width != full_width else f"{width}"
    _text(svg, center, bottom + 14, f"{channels} ch.", "foot strong")
    _text(svg, center, bottom + 31, wording.grid(grid), "foot")


def _rect(svg: ElementTree.Element, x: float, y: float, width: float, height: float, kind: str) -> None:
    box = {"x": _number(x), "y": _number(y), "width": _number(width), "height": _number(height)}
    ElementTree.SubElement(svg, "rect", {"class": kind, "rx": "3", **box})


def _line(svg: ElementTree.Element, x: tuple[float, float], y: tuple[float, float], kind: str) -> None:
    ends = {"x1": _number(x[0]), "x2": _number(x[1]), "y1": _number(y[0]), "y2": _number(y[1])}
    ElementTree.SubElement(svg, "line", {"class": kind, **ends})


def _text(svg: ElementTree.Element, x: float, y: float, words: str, kind: str) -> None:
    place = {"x": _number(x), "y": _number(y), "text-anchor": "middle", "dominant-baseline": "central"}
    ElementTree.SubElement(svg, "text", {"class": kind, **place}).text = visible(words)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")

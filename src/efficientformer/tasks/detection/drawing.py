"""Boxes with names and scores on photos."""

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from efficientformer.data.boxes.objects import Box
from efficientformer.records import atomic_path
from efficientformer.tasks.classification.fonts import Lettering

Color = tuple[int, int, int]
LEAST_SIDE, MOST_SIDE = 960, 1600
"""The longer side of a drawing, in pixels: small photos are enlarged, so that names can be read."""
TEXT, PADDING, LINE, DASH = 15, 3, 3, 6
INK, PAPER = (16, 18, 22), (255, 255, 255)
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Labelled:
    """A box in pixels of the photo, the number of its class, and what to write at it."""

    box: Box
    number: int
    text: str


def draw_boxes(
    photo: Image.Image,
    objects: Sequence[Labelled],
    lettering: Lettering | None = None,
    *,
    dashed: Sequence[Labelled] = (),
    pixels: tuple[float, float] | None = None,
    sides: tuple[int, int] = (LEAST_SIDE, MOST_SIDE),
) -> Image.Image:
    """The photo, enlarged or reduced, with the objects on it; the first ones lie on top.

    dashed: other boxes, in white dashes on top; those without a text have no name.
    pixels: width and height of the picture that the boxes are of, where the photo was opened at another size.
    sides: least and greatest longer side of the drawing, in pixels.
    """
    lettering = lettering or Lettering((labelled.text for labelled in (*objects, *dashed)), TEXT)
    size = drawing_size(photo, sides)
    drawing = photo if size == photo.size else photo.resize(size, Image.Resampling.LANCZOS)
    drawing = drawing.copy()
    draw = ImageDraw.Draw(drawing)
    pixels = pixels or photo.size
    corners = [_corners(labelled.box, pixels, size) for labelled in objects]
    for labelled, (x1, y1, x2, y2) in reversed(list(zip(objects, corners, strict=True))):
        # A dark line outside of the colored one keeps it visible on any photo.
        draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=INK, width=LINE + 2)
        draw.rectangle((x1, y1, x2, y2), outline=color_of(labelled.number), width=LINE)
    for labelled in dashed:
        _draw_dashes(draw, _corners(labelled.box, pixels, size))
    draw_names(drawing, [*objects, *(labelled for labelled in dashed if labelled.text)], lettering, pixels)
    return drawing


def draw_names(
    drawing: Image.Image, objects: Sequence[Labelled], lettering: Lettering, pixels: tuple[float, float]
) -> None:
    """Write the names of objects onto a drawing. pixels: width and height of the picture that their boxes are of."""
    draw, taken = ImageDraw.Draw(drawing), list[tuple[int, int, int, int]]()
    for labelled in objects:
        corner = _corners(labelled.box, pixels, drawing.size)
        taken.append(_draw_name(draw, lettering, labelled, corner, drawing.size, taken))


def drawing_size(photo: Image.Image, sides: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a drawing of the photo. sides: least and greatest longer side, in pixels."""
    scale = min(max(1.0, sides[0] / max(photo.size)), sides[1] / max(photo.size))
    return max(1, round(photo.width * scale)), max(1, round(photo.height * scale))


def _draw_dashes(draw: ImageDraw.ImageDraw, corner: tuple[int, int, int, int]) -> None:
    """A rectangle of white dashes on a dark line, which is visible on any photo and other boxes."""
    x1, y1, x2, y2 = corner
    draw.rectangle(corner, outline=INK, width=LINE)
    for x in range(x1, x2 + 1, 2 * DASH):
        for y in (y1, y2 - LINE + 1):
            draw.rectangle((x, y, min(x + DASH, x2), y + LINE - 1), fill=PAPER)
    for y in range(y1, y2 + 1, 2 * DASH):
        for x in (x1, x2 - LINE + 1):
            draw.rectangle((x, y, x + LINE - 1, min(y + DASH, y2)), fill=PAPER)


def _corners(box: Box, photo: tuple[float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Whole pixels of the drawing, in which the whole line is."""
    across, down = size[0] / photo[0], size[1] / photo[1]
    x1, y1, x2, y2 = round(box[0] * across), round(box[1] * down), round(box[2] * across), round(box[3] * down)
    x1, y1 = min(max(x1, 0), size[0] - 1), min(max(y1, 0), size[1] - 1)
    return x1, y1, min(max(x2 - 1, x1), size[0] - 1), min(max(y2 - 1, y1), size[1] - 1)


def _draw_name(
    draw: ImageDraw.ImageDraw,
    lettering: Lettering,
    labelled: Labelled,
    corner: tuple[int, int, int, int],
    size: tuple[int, int],
    taken: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int, int, int]:
    """Write the name above the box or at its top, where no other name stands; returns where it stands."""
    text = lettering.shortened(lettering.written(labelled.text), size[0] - 2 * PADDING)
    width, height = math.ceil(lettering.length(text)) + 2 * PADDING, TEXT + 2 * PADDING
    left = min(max(corner[0], 0), max(size[0] - width, 0))
    places = [corner[1] - height, corner[1], *range(corner[1] + height, corner[3] - height, height), corner[3] + 1]
    inside = [top for top in places if 0 <= top <= size[1] - height] or [max(0, min(corner[1], size[1] - height))]
    tags = [(left, top, left + width, top + height) for top in inside]
    tag = next((tag for tag in tags if not any(_overlap(tag, other) for other in taken)), tags[0])
    color = color_of(labelled.number)
    draw.rectangle((tag[0], tag[1], tag[2] - 1, tag[3] - 1), fill=color)
    lettering.draw(draw, tag[0] + PADDING, tag[3] - PADDING - 3, text, INK if _is_light(color) else PAPER)
    return tag


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def color_of(number: int) -> Color:
    """A color for a class; those of neighboring numbers are far apart."""
    hue, level = (0.58 + number * GOLDEN) % 1, number % 3
    red, green, blue = colorsys.hls_to_rgb(hue, (0.52, 0.64, 0.40)[level], (0.85, 0.95, 0.75)[level])
    return round(255 * red), round(255 * green), round(255 * blue)


def _is_light(color: Color) -> bool:
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140


def save_png(drawing: Image.Image, path: Path) -> None:
    with atomic_path(path) as temporary:
        drawing.save(temporary, format="PNG")

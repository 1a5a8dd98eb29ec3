"""The classes of a photo's pixels as colors over it, with a legend."""

import numpy as np
from PIL import Image, ImageDraw

from efficientformer.data.masks.mask import IGNORED
from efficientformer.tasks.classification.fonts import Lettering
from efficientformer.tasks.detection.drawing import color_of, drawing_size
from efficientformer.tasks.semantic.prediction import SegmentedImage

OPACITY = 0.55
LEAST_SIDE, MOST_SIDE = 640, 1600
"""The longer side of a drawing, in pixels: small photos are enlarged, so that the legend is in proportion."""
TEXT, ROW, SWATCH, PADDING, LEGEND = 15, 24, 14, 12, 260
INK, PAPER = (28, 32, 38), (255, 255, 255)


def draw_segments(photo: Image.Image, found: SegmentedImage, lettering: Lettering | None = None) -> Image.Image:
    """The photo under the colors of its classes, which are darker along their borders; at the right a legend of the
    classes that were found, with their shares, the largest first."""
    lettering = lettering or Lettering((segment.name for segment in found.segments), TEXT)
    size = drawing_size(photo, (LEAST_SIDE, MOST_SIDE))
    rows = -(-(size[1] - 2 * PADDING) // ROW)
    drawing = Image.new("RGB", (size[0] + LEGEND, max(size[1], _height(min(len(found.segments), rows)))), PAPER)
    drawing.paste(painted(photo, found.mask, size), (0, 0))
    _draw_legend(drawing, found, lettering, size[0] + PADDING, rows)
    return drawing


def painted(photo: Image.Image, mask: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The photo at a size (width, height) under the colors of the classes of a mask (H, W) uint8, which are darker
    along their borders. Ignored pixels have none."""
    shown = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    pixels = np.asarray(photo.resize(size, Image.Resampling.LANCZOS), dtype=np.float32)
    colors = np.array([color_of(number) for number in range(IGNORED + 1)], dtype=np.float32)
    mixed = pixels * (1 - OPACITY) + colors[shown] * OPACITY
    mixed[shown == IGNORED] = pixels[shown == IGNORED]
    mixed[borders(shown)] *= 0.5
    return Image.fromarray(mixed.round().astype(np.uint8))


def _height(rows: int) -> int:
    return rows * ROW + 2 * PADDING


def borders(mask: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbor is of another class."""
    is_border = np.zeros(mask.shape, dtype=bool)
    is_border[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    is_border[:-1] |= mask[:-1] != mask[1:]
    return is_border


def _draw_legend(drawing: Image.Image, found: SegmentedImage, lettering: Lettering, left: int, rows: int) -> None:
    """As many rows as the height has room for; the last counts the classes that are left."""
    draw, right = ImageDraw.Draw(drawing), drawing.width - PADDING
    shown = found.segments if len(found.segments) <= rows else found.segments[: rows - 1]
    for row, segment in enumerate(shown):
        top = PADDING + row * ROW
        draw.rectangle((left, top, left + SWATCH, top + SWATCH), fill=color_of(segment.number), outline=INK)
        share = f"{segment.share:.1f} %"
        width = lettering.length(share)
        room = right - width - left - SWATCH - 2 * PADDING
        text = lettering.shortened(lettering.written(segment.name), room)
        lettering.draw(draw, left + SWATCH + 8, top + SWATCH - 1, text, INK)
        lettering.draw(draw, right - width, top + SWATCH - 1, share, INK)
    if left_out := len(found.segments) - len(shown):
        top = PADDING + len(shown) * ROW
        lettering.draw(draw, left, top + SWATCH - 1, f"and {left_out} more classes", INK)

"""A contact sheet: every image with its predicted classes, as one PNG."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from efficientformer.data.images import read_image
from efficientformer.records import atomic_path
from efficientformer.tasks.classification.fonts import Lettering
from efficientformer.tasks.classification.prediction import Prediction

_TILE, _ROW, _PADDING, _COLUMNS = 192, 19, 10, 5
_TEXT, _BASELINE = 13, 12
INK, PAPER, _BEST, _OTHER = (28, 32, 38), (255, 255, 255), (134, 190, 226), (219, 230, 240)
MAX_IMAGES = 100
"""Images on a sheet; a larger one would be hard to look at."""


def draw_contact_sheet(predictions: Sequence[Prediction], path: Path) -> list[str]:
    """Draw up to MAX_IMAGES tiles: the image, and a bar with name and percentage for each of its best classes.

    Returns the characters of names that no font here has: they are drawn as `Lettering.written` writes them.
    """
    predictions = predictions[:MAX_IMAGES]
    lettering = Lettering((name for prediction in predictions for name in prediction.classes), _TEXT)
    rows_of_text = max(len(prediction.classes) for prediction in predictions)
    cell = (_TILE + 2 * _PADDING, _TILE + rows_of_text * _ROW + 3 * _PADDING)
    columns = min(_COLUMNS, len(predictions))
    num_rows = -(-len(predictions) // columns)
    sheet = Image.new("RGB", (columns * cell[0], num_rows * cell[1]), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, prediction in enumerate(predictions):
        left = index % columns * cell[0] + _PADDING
        top = index // columns * cell[1] + _PADDING
        sheet.paste(thumbnail(read_image(Path(prediction.file), max_pixels=None), _TILE), (left, top))
        _draw_scores(draw, lettering, prediction, left, top + _TILE + _PADDING // 2)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
    return lettering.missing


def thumbnail(image: Image.Image, side: int) -> Image.Image:
    """The whole image, enlarged or reduced to fit a square of `side` pixels, on a light background."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    resampling = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    tile = Image.new("RGB", (side, side), (244, 244, 242))
    tile.paste(image.resize(size, resampling), ((side - size[0]) // 2, (side - size[1]) // 2))
    return tile


def _draw_scores(draw: ImageDraw.ImageDraw, lettering: Lettering, prediction: Prediction, left: int, top: int) -> None:
    for row, (name, score) in enumerate(zip(prediction.classes, prediction.scores, strict=True)):
        y = top + row * _ROW
        draw.rectangle((left, y, left + _TILE, y + _ROW - 4), fill=(246, 248, 250))
        draw.rectangle((left, y, left + round(_TILE * score / 100), y + _ROW - 4), fill=_BEST if row == 0 else _OTHER)
        percent = f"{score:.0f} %"
        width = lettering.length(percent)
        text = lettering.shortened(lettering.written(name), _TILE - 14 - width)
        lettering.draw(draw, left + 4, y + _BASELINE, text, INK)
        lettering.draw(draw, left + _TILE - 4 - width, y + _BASELINE, percent, INK)

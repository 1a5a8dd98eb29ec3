"""A contact sheet of a data set: a row of images for each class, as one PNG."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from efficientformer.data.large.undecoded import UndecodedSource
from efficientformer.errors import DataError
from efficientformer.records import atomic_path
from efficientformer.tasks.classification.contact_sheet import INK, PAPER, thumbnail
from efficientformer.tasks.classification.fonts import Lettering

MAX_CLASSES, IMAGES_OF_CLASS = 25, 10
_TILE, _GAP, _TEXT = 96, 6, 14
_LINE = 24


def draw_classes(rows: Sequence[tuple[str, UndecodedSource, Sequence[int]]], path: Path) -> None:
    """Draw a line of text and, below it, up to IMAGES_OF_CLASS images for each row, by their positions in a source.

    Raises DataError for an image that can no longer be read.
    """
    titles = [title for title, _, _ in rows]
    lettering = Lettering(titles, _TEXT)
    width = _GAP + IMAGES_OF_CLASS * (_TILE + _GAP)
    height = _LINE + _TILE + _GAP
    sheet = Image.new("RGB", (width, _GAP + len(rows) * height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (title, source, positions) in enumerate(rows):
        top = number * height
        text = lettering.shortened(lettering.written(title), width - 2 * _GAP)
        lettering.draw(draw, _GAP, top + _LINE - 7, text, INK)
        for place, position in enumerate(positions[:IMAGES_OF_CLASS]):
            try:
                tile = thumbnail(source.decoded(position, _TILE), _TILE)
            except DataError as error:  # it was changed since it was checked
                name = source.name(position)
                raise DataError(f"{name} can no longer be read: {error}. Run the same command again.") from error
            sheet.paste(tile, (_GAP + place * (_TILE + _GAP), top + _LINE))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")

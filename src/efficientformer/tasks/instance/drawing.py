"""Masks, boxes and names of objects on photos."""

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

from efficientformer.data.boxes.shapes import mask_of
from efficientformer.tasks.classification.fonts import Lettering
from efficientformer.tasks.detection.drawing import INK, PAPER, color_of, draw_boxes
from efficientformer.tasks.detection.prediction import ObjectPrediction
from efficientformer.tasks.semantic.drawing import borders

SHARE = 0.5
"""Of the color in a mask."""
LINE = 2


def draw_instances(photo: Image.Image, found: ObjectPrediction, lettering: Lettering | None = None) -> Image.Image:
    """The photo, enlarged or reduced, with the objects on it; the first ones lie on top."""
    return draw_boxes(draw_masks(photo, found), found.labelled(), lettering)


def draw_masks(photo: Image.Image, found: ObjectPrediction) -> Image.Image:
    """The photo, of any size, with every object in the color of its class, which the photo shines through. Borders are
    darker, so that neighbors of one class can be told apart."""
    pixels_HW3 = np.asarray(photo.convert("RGB"), dtype=np.float32).copy()
    owners_HW = np.asarray(Image.fromarray(_owners(found)).resize(photo.size, Image.Resampling.NEAREST))
    for index, each in enumerate(found.objects):
        is_own_HW = owners_HW == index
        pixels_HW3[is_own_HW] += SHARE * (np.array(color_of(each.number), dtype=np.float32) - pixels_HW3[is_own_HW])
    pixels_HW3[borders(owners_HW)] *= 0.5
    return Image.fromarray(pixels_HW3.round().astype(np.uint8))


def draw_outline(drawing: Image.Image, mask_HW: np.ndarray) -> None:
    """A white line along the border of a mask of 0 and 1, which is stretched to the drawing; dark inside, so that it is
    visible on any photo."""
    shape = Image.fromarray(255 * mask_HW).resize(drawing.size, Image.Resampling.NEAREST)
    for width, ink in ((LINE + 1, INK), (LINE, PAPER)):
        around = ImageOps.expand(shape, width)  # beyond the picture there is nothing of the object
        inner = around.filter(ImageFilter.MinFilter(2 * width + 1)).crop((width, width, *np.add(shape.size, width)))
        drawing.paste(ink, mask=ImageChops.subtract(shape, inner))


def _owners(found: ObjectPrediction) -> np.ndarray:
    """Of every pixel (H, W), int32, the best object that it belongs to, -1 for none: overlaps have one color."""
    owners_HW = np.full((found.height, found.width), -1, dtype=np.int32)
    for index in reversed(range(len(found.objects))):
        mask = found.objects[index].mask
        if mask is not None:
            owners_HW[mask_of(mask, (found.width, found.height)) > 0] = index
    return owners_HW

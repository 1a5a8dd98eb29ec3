"""A photo with the masks that a network finds in it, and the outlines of the labelled ones."""

from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import nn

from efficientformer.data.boxes.objects import Box
from efficientformer.data.boxes.shapes import mask_of
from efficientformer.data.loading.loader import Batch
from efficientformer.tasks.classification.fonts import Lettering
from efficientformer.tasks.detection.drawing import TEXT, Labelled, draw_names, drawing_size
from efficientformer.tasks.detection.prediction import FoundObject, ObjectPrediction
from efficientformer.tasks.examples.example import LONGER_SIDE, Example
from efficientformer.tasks.finite_logits import finite_logits
from efficientformer.tasks.instance.drawing import draw_masks, draw_outline
from efficientformer.tasks.instance.matching import mask_matches
from efficientformer.tasks.instance.pasting import pasted_rows


def draw_found_masks(model: nn.Module, photo: Image.Image, batch: Batch, classes: Sequence[str]) -> Example:
    """batch: the photo alone, as it is scored. A missed object has its name, as the found masks have."""
    images_1CHW, (placed,) = batch
    objects, size = placed.objects, (placed.objects.width, placed.objects.height)
    rows_NX = finite_logits(model, images_1CHW)[0].double().numpy()
    rows_NX = rows_NX[rows_NX[:, 5] >= 0]
    boxes = placed.placement.to_picture(rows_NX[:, :4], size).tolist()
    masks = pasted_rows(rows_NX, placed.placement, size)
    matched = mask_matches(masks, rows_NX[:, 4], rows_NX[:, 5].astype(int), objects)
    shown = [_found(rows_NX[index].tolist(), boxes[index], masks[index], classes) for index in matched.shown]
    found = ObjectPrediction("", *size, tuple(shown))
    missed = [objects.instances[index] for index in matched.missed]
    named = found.labelled() + [Labelled(each.box, each.number, f"{classes[each.number]}, missed") for each in missed]
    # Masks are drawn at the size of the drawing, so that their borders are sharp.
    enlarged = photo.resize(drawing_size(photo, (LONGER_SIDE, LONGER_SIDE)), Image.Resampling.LANCZOS)
    drawing = draw_masks(enlarged, found)
    for instance in objects.instances:
        if not instance.is_crowd:
            draw_outline(drawing, mask_of(instance.segmentation, size))
    draw_names(drawing, named, Lettering((each.text for each in named), TEXT), size)
    return Example((drawing,))


def _found(row: Sequence[float], box: Box, mask: dict[str, Any], classes: Sequence[str]) -> FoundObject:
    score, number = row[4], int(row[5])
    return FoundObject(classes[number], number, 100 * score, box, mask)

"""A photo with the boxes that a network finds in it, and dashed the labelled ones."""

from collections.abc import Sequence

from PIL import Image
from torch import nn

from efficientformer.data.boxes.objects import Box
from efficientformer.data.loading.loader import Batch
from efficientformer.models.heads.decoding import decode
from efficientformer.tasks.classification.fonts import Lettering
from efficientformer.tasks.detection.assignment import grid_of_frames
from efficientformer.tasks.detection.drawing import TEXT, Labelled, draw_boxes
from efficientformer.tasks.detection.matching import box_matches
from efficientformer.tasks.detection.scores import in_picture
from efficientformer.tasks.examples.example import LONGER_SIDE, Example
from efficientformer.tasks.finite_logits import finite_logits


def draw_found_boxes(model: nn.Module, photo: Image.Image, batch: Batch, classes: Sequence[str]) -> Example:
    """batch: the photo alone, as it is scored. A missed object has its name, as the found boxes have."""
    images_1CHW, boxes_1N6 = batch
    (found,) = decode(finite_logits(model, images_1CHW), grid_of_frames(boxes_1N6))
    to_picture, rows_N6, size = in_picture(boxes_1N6[0])
    boxes_N4, scores_N, classes_N = (
        to_picture(found.boxes.double().numpy()),
        found.scores.numpy(),
        found.classes.numpy(),
    )
    matched = box_matches(boxes_N4, scores_N, classes_N, rows_N6)
    objects = [
        Labelled(
            _box(boxes_N4[index]), int(classes_N[index]), f"{classes[classes_N[index]]} {100 * scores_N[index]:.0f} %"
        )
        for index in matched.shown
    ]
    labelled = [
        Labelled(_box(row[1:5]), int(row[0]), f"{classes[int(row[0])]}, missed" if index in matched.missed else "")
        for index, row in enumerate(rows_N6)
        if row[0] >= 0
    ]
    lettering = Lettering((each.text for each in (*objects, *labelled)), TEXT)
    sides = LONGER_SIDE, LONGER_SIDE
    return Example((draw_boxes(photo, objects, lettering, dashed=labelled, pixels=size, sides=sides),))


def _box(numbers: Sequence[float]) -> Box:
    x1, y1, x2, y2 = map(float, numbers)
    return x1, y1, x2, y2

"""A photo under the colors of its labelled classes, next to the same under those that a network gives it."""

import numpy as np
from PIL import Image
from torch import nn

from efficientformer.data.loading.loader import Batch
from efficientformer.data.masks.mask import IGNORED
from efficientformer.tasks.detection.drawing import drawing_size
from efficientformer.tasks.examples.example import LONGER_SIDE, Example
from efficientformer.tasks.finite_logits import finite_logits
from efficientformer.tasks.semantic.drawing import painted
from efficientformer.tasks.semantic.scores import taken_classes


def draw_masks(model: nn.Module, photo: Image.Image, batch: Batch) -> Example:
    """batch: the photo alone, as it is scored. Ignored pixels are drawn in neither: they do not count."""
    images_1CHW, masks_1HW = batch
    mask_HW = masks_1HW[0]
    found_HW = taken_classes(finite_logits(model, images_1CHW)[0], *mask_HW.shape)
    found_HW[mask_HW == IGNORED] = IGNORED
    masks = [each_HW.numpy().astype(np.uint8) for each_HW in (mask_HW, found_HW)]
    numbers = sorted({int(number) for mask in masks for number in np.unique(mask)} - {IGNORED})
    size = drawing_size(photo, (LONGER_SIDE, LONGER_SIDE))
    return Example(tuple(painted(photo, mask, size) for mask in masks), tuple(numbers))

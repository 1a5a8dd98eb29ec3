"""Which masks of an image find which of its objects."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from efficientformer.data.boxes.objects import Objects
from efficientformer.data.boxes.shapes import overlaps_with
from efficientformer.tasks.detection.matching import Matches, matches


def mask_matches(
    masks: Sequence[dict[str, Any]], scores_N: np.ndarray, classes_N: np.ndarray, objects: Objects
) -> Matches:
    """masks: of what was found, by descending score, as run lengths in the picture that the objects are of."""
    numbers_M = np.array([instance.number for instance in objects.instances], dtype=int)
    is_crowd_M = np.array([instance.is_crowd for instance in objects.instances], dtype=bool)
    return matches(overlaps_with(masks, objects), scores_N, classes_N, numbers_M, is_crowd_M)

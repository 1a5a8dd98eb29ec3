"""Find objects and their masks with an exported file."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from efficientformer.data.boxes.placement import Placement
from efficientformer.models.heads.mask_rcnn import NUMBERS
from efficientformer.tasks.detection.prediction import BoxPredictor
from efficientformer.tasks.instance.kind import OBJECTS
from efficientformer.tasks.instance.pasting import pasted_rows


class InstancePredictor(BoxPredictor):
    """An exported Mask R-CNN with its class names. Raises as `BoxPredictor` does."""

    output, numbers = OBJECTS, NUMBERS

    def _masks(
        self, rows_NX: np.ndarray, placement: Placement, size: tuple[int, int]
    ) -> Sequence[dict[str, Any] | None]:
        return pasted_rows(rows_NX, placement, size)

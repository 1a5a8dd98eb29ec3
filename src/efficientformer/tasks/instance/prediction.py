"""Find objects and their masks with an exported file."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from efficientformer.data.boxes.placement import Placement
from efficientformer.data.boxes.shapes import run_lengths_of
from efficientformer.models.heads.mask_rcnn import FACTS, MASK_SIDE, NUMBERS
from efficientformer.tasks.detection.prediction import BoxPredictor
from efficientformer.tasks.instance.kind import OBJECTS
from efficientformer.tasks.instance.pasting import pasted


class InstancePredictor(BoxPredictor):
    """An exported Mask R-CNN with its class names. Raises as `BoxPredictor` does."""

    output, numbers = OBJECTS, NUMBERS

    def _masks(
        self, rows_NX: np.ndarray, placement: Placement, size: tuple[int, int]
    ) -> Sequence[dict[str, Any] | None]:
        boxes, masks_NSS = (
            placement.uncut(rows_NX[:, :4]).tolist(),
            rows_NX[:, FACTS:].reshape(-1, MASK_SIDE, MASK_SIDE),
        )
        return [run_lengths_of(pasted(mask_SS, box, size)) for mask_SS, box in zip(masks_NSS, boxes, strict=True)]

"""Which boxes of an image find which of its objects, and how well in all."""

from dataclasses import dataclass

import numpy as np

from efficientformer.data.boxes.joint import IGNORED

LEAST_SCORE = 0.3
"""Below it boxes are mostly mistakes. Average precision counts all."""
LEAST_OVERLAP = 0.5


@dataclass(frozen=True)
class Matches:
    """shown: indices of the boxes that count, best first. overlaps: of those that find an object, their intersection
    over union. missed: indices of the objects that no box finds. num_wrong: boxes that find none."""

    shown: tuple[int, ...]
    overlaps: tuple[float, ...]
    missed: tuple[int, ...]
    num_wrong: int

    @property
    def quality(self) -> float | None:
        """In percent: the overlaps, added up, over their number and half the number of missed objects and of wrong
        boxes (panoptic quality, Kirillov et al., 2019). None for an image without objects in which none is found."""
        whole = len(self.overlaps) + (len(self.missed) + self.num_wrong) / 2
        return 100 * sum(self.overlaps) / whole if whole else None


def matches(boxes_N4: np.ndarray, scores_N: np.ndarray, classes_N: np.ndarray, rows_M6: np.ndarray) -> Matches:
    """boxes_N4: x1, y1, x2, y2 of what was found, by descending score. rows_M6: class, x1, y1, x2, y2, area of the
    objects; crowds have IGNORED minus their class: boxes mostly inside of them are neither right nor wrong."""
    shown = [int(index) for index in np.flatnonzero(scores_N >= LEAST_SCORE)]
    open_ones = {index for index, row in enumerate(rows_M6) if row[0] >= 0}
    overlaps, num_wrong = list[float](), 0
    for index in shown:
        ious_M = _overlaps(boxes_N4[index], rows_M6[:, 1:5])
        own = [each for each in open_ones if rows_M6[each, 0] == classes_N[index] and ious_M[each] >= LEAST_OVERLAP]
        if own:
            best = max(own, key=lambda each: (ious_M[each], -each))
            open_ones.remove(best)
            overlaps.append(float(ious_M[best]))
            continue
        crowds_C4 = rows_M6[rows_M6[:, 0] == IGNORED - classes_N[index], 1:5]
        inside_C = _intersections(boxes_N4[index], crowds_C4) / max(_area(boxes_N4[index]), 1e-9)
        num_wrong += not (inside_C >= LEAST_OVERLAP).any()
    return Matches(tuple(shown), tuple(overlaps), tuple(sorted(open_ones)), num_wrong)


def _overlaps(box_4: np.ndarray, boxes_N4: np.ndarray) -> np.ndarray:
    """Intersections over union."""
    shared_N = _intersections(box_4, boxes_N4)
    return shared_N / np.maximum(_area(box_4) + _area(boxes_N4) - shared_N, 1e-9)


def _intersections(box_4: np.ndarray, boxes_N4: np.ndarray) -> np.ndarray:
    sides_N2 = np.minimum(box_4[2:], boxes_N4[:, 2:]) - np.maximum(box_4[:2], boxes_N4[:, :2])
    return sides_N2.clip(min=0).prod(axis=1)


def _area(boxes_N4: np.ndarray) -> np.ndarray:
    return (boxes_N4[..., 2:] - boxes_N4[..., :2]).prod(axis=-1)

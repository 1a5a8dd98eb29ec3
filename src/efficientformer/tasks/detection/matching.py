"""Which boxes or masks of an image find which of its objects, and how well in all."""

from dataclasses import dataclass

import numpy as np

from efficientformer.data.boxes.joint import IGNORED

LEAST_SCORE = 0.3
"""Below it objects are mostly mistakes. Average precision counts all."""
LEAST_OVERLAP = 0.5


@dataclass(frozen=True)
class Matches:
    """shown: indices of what was found and counts, best first. overlaps: of those that find an object, their
    intersection over union. missed: indices of the objects that none finds. num_wrong: those that find none."""

    shown: tuple[int, ...]
    overlaps: tuple[float, ...]
    missed: tuple[int, ...]
    num_wrong: int

    @property
    def quality(self) -> float | None:
        """In percent: the overlaps, added up, over their number and half the number of missed objects and of wrong
        ones (panoptic quality, Kirillov et al., 2019). None for an image without objects in which none is found."""
        whole = len(self.overlaps) + (len(self.missed) + self.num_wrong) / 2
        return 100 * sum(self.overlaps) / whole if whole else None


def matches(
    overlaps_NM: np.ndarray, scores_N: np.ndarray, classes_N: np.ndarray, numbers_M: np.ndarray, is_crowd_M: np.ndarray
) -> Matches:
    """overlaps_NM: of what was found, by descending score, with every object: intersection over union; with a crowd the
    share that lies in it, since what mostly does is neither right nor wrong. numbers_M: classes of the objects."""
    shown = [int(index) for index in np.flatnonzero(scores_N >= LEAST_SCORE)]
    open_ones = {int(index) for index in np.flatnonzero(~is_crowd_M)}
    overlaps, num_wrong = list[float](), 0
    for index in shown:
        is_own_M = (numbers_M == classes_N[index]) & (overlaps_NM[index] >= LEAST_OVERLAP)
        if own := [each for each in open_ones if is_own_M[each]]:
            best = max(own, key=lambda each: (overlaps_NM[index, each], -each))
            open_ones.remove(best)
            overlaps.append(float(overlaps_NM[index, best]))
        else:
            num_wrong += not (is_own_M & is_crowd_M).any()
    return Matches(tuple(shown), tuple(overlaps), tuple(sorted(open_ones)), num_wrong)


def box_matches(boxes_N4: np.ndarray, scores_N: np.ndarray, classes_N: np.ndarray, rows_M6: np.ndarray) -> Matches:
    """boxes_N4: x1, y1, x2, y2 of what was found, by descending score. rows_M6: class, x1, y1, x2, y2, area of the
    objects; crowds have IGNORED minus their class."""
    numbers_M, objects_M4, is_crowd_M = rows_M6[:, 0], rows_M6[:, 1:5], rows_M6[:, 0] < 0
    sides_NM2 = np.minimum(boxes_N4[:, None, 2:], objects_M4[:, 2:]) - np.maximum(
        boxes_N4[:, None, :2], objects_M4[:, :2]
    )
    shared_NM, own_N1 = sides_NM2.clip(min=0).prod(axis=2), _areas(boxes_N4)[:, None]
    whole_NM = np.where(is_crowd_M, own_N1, own_N1 + _areas(objects_M4) - shared_NM)
    numbers_M = np.where(is_crowd_M, IGNORED - numbers_M, numbers_M)
    return matches(shared_NM / np.maximum(whole_NM, 1e-9), scores_N, classes_N, numbers_M, is_crowd_M)


def _areas(boxes_N4: np.ndarray) -> np.ndarray:
    return (boxes_N4[:, 2:] - boxes_N4[:, :2]).prod(axis=1)

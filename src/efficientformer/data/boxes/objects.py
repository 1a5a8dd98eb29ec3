"""The objects of an image: classes, boxes, perhaps segmentations. No torch."""

from dataclasses import dataclass
from typing import Any

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels, from the upper left corner of the image."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One object, or a crowd of them that nobody counted.

    number: of its class.
    area: in pixels of the image, of its segmentation where it has one.
    segmentation: polygons `[[x, y, ...], ...]` or run lengths `{"size": [height, width], "counts": ...}` of COCO JSON.
    """

    number: int
    box: Box
    is_crowd: bool
    area: float
    segmentation: Any = None


@dataclass(frozen=True, slots=True)
class Objects:
    """The label of an image: its objects, perhaps none.

    width, height: of the image that the boxes are of; it may be opened at another size.
    image_id: in the file of annotations, where there is one.
    """

    width: int
    height: int
    instances: tuple[Instance, ...]
    image_id: int

    @property
    def classes(self) -> tuple[int, ...]:
        """The numbers of its classes, each once."""
        return tuple(sorted({instance.number for instance in self.instances if not instance.is_crowd}))

    def held(self, width: int, height: int) -> "Objects":
        """The same, since boxes are relative to the size that is named here."""
        return self


def area_of(box: Box) -> float:
    x1, y1, x2, y2 = box
    return (x2 - x1) * (y2 - y1)

"""Where a picture lies in the input of a network, and its boxes with it.

A picture keeps its aspect: it is resized until it just fits, and what it leaves free has the mean color. Shapes stay
what a pretrained network knows, a picture in portrait format looks like one in landscape format, and the way back is a
shift and a scale. An input of the pictures' aspect (`--resolution 192x256`) leaves nothing free.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from efficientformer.arch.resolution import Grid

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Placement:
    """Pixels of the input are those of the picture times `scale_x`, `scale_y`, plus `left`, `top`."""

    scale_x: float
    scale_y: float
    left: float
    top: float

    def to_input(self, boxes_N4: np.ndarray) -> np.ndarray:
        """Boxes (x1, y1, x2, y2) of the picture as boxes of the input."""
        return boxes_N4 * self._scales + self._shifts

    def to_picture(self, boxes_N4: np.ndarray, size: tuple[float, float]) -> np.ndarray:
        """Boxes of the input as boxes of the picture of this width and height, cut at its border."""
        width, height = size
        return np.clip(self.uncut(boxes_N4), 0, np.array([width, height, width, height]))

    def uncut(self, boxes_N4: np.ndarray) -> np.ndarray:
        """The same, which may reach beyond the picture."""
        return (boxes_N4 - self._shifts) / self._scales

    @property
    def _scales(self) -> np.ndarray:
        return np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y])

    @property
    def _shifts(self) -> np.ndarray:
        return np.array([self.left, self.top, self.left, self.top])


def fitted(size: tuple[int, int], grid: Grid) -> Placement:
    """The placement of a picture of this width and height in the middle of an input of `grid` (height, width)."""
    scale = fitting_scale(size, grid)
    (width, height), (high, wide) = scaled(size, scale, scale), grid
    return Placement(width / size[0], height / size[1], (wide - width) // 2, (high - height) // 2)


def fitting_scale(size: tuple[int, int], grid: Grid) -> float:
    return min(grid[1] / size[0], grid[0] / size[1])


def scaled(size: tuple[int, int], scale_x: float, scale_y: float) -> tuple[int, int]:
    """Width and height in whole pixels, at least one."""
    return max(round(size[0] * scale_x), 1), max(round(size[1] * scale_y), 1)


def placed(image: Image.Image, placement: Placement, grid: Grid, color: Color) -> Image.Image:
    """The input: the picture resized (bicubic, antialiased) and placed, on a ground of `color`. Only the pixels that
    lie in the input are computed."""
    high, wide = grid
    width, height = scaled(image.size, placement.scale_x, placement.scale_y)
    left, top = round(placement.left), round(placement.top)
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + width, wide), min(top + height, high)
    ground = Image.new("RGB", (wide, high), color)
    if x2 <= x1 or y2 <= y1:
        return ground
    across, down = image.width / width, image.height / height
    box = (
        (x1 - left) * across,
        (y1 - top) * down,
        min((x2 - left) * across, image.width),
        min((y2 - top) * down, image.height),
    )
    if (width, height) == image.size:  # nothing to resample
        part = image.crop((round(box[0]), round(box[1]), round(box[2]), round(box[3])))
    else:
        part = image.resize((x2 - x1, y2 - y1), Image.Resampling.BICUBIC, box=box)
    ground.paste(part, (x1, y1))
    return ground

"""A mask: the class of every pixel of an image. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from efficientformer.data.content import Content, file_state
from efficientformer.errors import DataError
from efficientformer.records import file_digest

IGNORED = 255
"""The class of pixels that are neither trained on nor scored."""
MAX_MASK_CLASSES = IGNORED
MOST_COLORS = 4096
"""A mask of more colors is a picture."""
_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")


@dataclass(frozen=True, eq=False)
class MaskClasses:
    """What the pixels of masks mean.

    names: of the classes, in their order.
    numbers: the number of the class, or `IGNORED`, of every value: of a byte or a color, red * 65536 + green * 256 +
        blue.
    are_colors: whether the values are colors.
    source: where they are from, for messages.
    """

    names: tuple[str, ...]
    numbers: Mapping[int, int]
    are_colors: bool
    source: str

    def of(self, values: tuple[int, ...]) -> tuple[int, ...]:
        """The numbers of the classes of these values, in ascending order. Raises DataError for an unknown value."""
        unknown = [value for value in values if value not in self.numbers]
        if unknown:
            more = f" and {len(unknown) - 1} more that" if len(unknown) > 1 else ", which"
            what = f"the color {_color(unknown[0])}" if self.are_colors else f"the value {unknown[0]}"
            raise DataError(f"it has {what}{more} {self.source} does not list. List the class, or correct the mask")
        return tuple(sorted({self.numbers[value] for value in values} - {IGNORED}))

    @cached_property
    def _table(self) -> np.ndarray:
        table = np.full(max(self.numbers) + 1, IGNORED, dtype=np.uint8)
        table[list(self.numbers)] = list(self.numbers.values())
        return table

    def pixels(self, values_HW: np.ndarray) -> np.ndarray:
        """The numbers of the classes of all pixels, (H, W) uint8."""
        if self.are_colors:
            values, places = np.unique(values_HW, return_inverse=True)
            numbers = np.array([self.numbers[int(value)] for value in values], dtype=np.uint8)
            return numbers[places].reshape(values_HW.shape)
        return self._table[values_HW]


def _color(value: int) -> str:
    return f"{value >> 16} {value >> 8 & 255} {value & 255}"


@dataclass(frozen=True, eq=False)
class Mask:
    """A `DenseLabel` in memory: (H, W) uint8, the number of the class of every pixel, or `IGNORED`."""

    values: np.ndarray
    classes: tuple[int, ...]

    def pixels(self) -> np.ndarray:
        return self.values

    def held(self, width: int, height: int) -> "Mask":
        if self.values.shape == (height, width):
            return self
        shrunk = Image.fromarray(self.values).resize((width, height), Image.Resampling.NEAREST)
        return Mask(np.asarray(shrunk), self.classes)


@dataclass(frozen=True, eq=False)
class MaskFile:
    """A `DenseLabel` that is read from its file each time, as long as the content is what was checked."""

    path: Path
    content: Content
    meaning: MaskClasses
    classes: tuple[int, ...]

    def pixels(self) -> np.ndarray:
        """(H, W) uint8, the number of the class of every pixel, or `IGNORED`. Raises DataError."""
        try:
            has_changed = file_state(self.path) != self.content.state and file_digest(self.path) != self.content.digest
        except OSError:  # reading it says why
            has_changed = False
        if has_changed:
            raise DataError(
                f"{self.path} has changed since this command began. Run it again: what depends on the masks is done "
                "anew."
            )
        try:
            return self.meaning.pixels(read_values(self.path)[0])
        except (DataError, IndexError, KeyError) as error:
            raise DataError(
                f"{self.path} could be read before and now cannot: {error}. Restore the file, or run the same command "
                "again without it."
            ) from error

    def held(self, width: int, height: int) -> Mask:
        return Mask(self.pixels(), self.classes).held(width, height)


def read_values(path: Path) -> tuple[np.ndarray, bool]:
    """The values (H, W) of a mask's pixels, and whether they are colors, red * 65536 + green * 256 + blue.

    Raises DataError whose message is only the reason.
    """
    try:
        with Image.open(path) as image:
            if image.format in ("JPEG", "MPO"):
                raise DataError("JPEG changes the values of pixels. Save masks as PNG")
            if (num_frames := getattr(image, "n_frames", 1)) > 1:
                raise DataError(f"it has {num_frames} frames, of which only one can be the mask. Save it as PNG")
            if image.mode in _INDEX_MODES:
                return np.asarray(image).astype(np.int64 if image.mode == "I" else np.uint16), False
            if image.mode != "RGB":
                raise DataError(f"it is of mode {image.mode}. Save the mask as PNG of one channel, or as RGB")
            pixels_HWC = np.asarray(image).astype(np.int64)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        what = "it is damaged, or no picture" if path.stat().st_size else "it is an empty file"
        raise DataError(f"{what}. Save the mask as PNG") from error
    except Exception as error:  # Pillow's readers fail on broken files in too many ways to list
        raise DataError(f"damaged: {(str(error).strip() or type(error).__name__).splitlines()[0]}") from error
    return pixels_HWC[..., 0] << 16 | pixels_HWC[..., 1] << 8 | pixels_HWC[..., 2], True


def mask_facts(path: Path) -> tuple[int, ...]:
    """What a check keeps of a mask: width, height, 1 for colors else 0, and all values. Raises as `read_values`, and
    for a picture of thousands of colors."""
    values_HW, are_colors = read_values(path)
    found = np.unique(values_HW)
    if len(found) > MOST_COLORS:
        raise DataError(f"it has {len(found):,} colors, so it is a picture instead of a mask")
    return values_HW.shape[1], values_HW.shape[0], int(are_colors), *map(int, found)

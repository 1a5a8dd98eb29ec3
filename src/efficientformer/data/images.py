"""Any image file to RGB: one decoder for all kinds of pictures that people have in their folders."""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from efficientformer.errors import DataError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})

# The formats that those files may have. Pillow knows more, some of which start other programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

# Modes with more than 8 bits, and the possible values of white, smallest first.
_WHITE = {"I": (65535.0,), "F": (1.0, 255.0)}

Progress = Callable[[int, int], None]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def read_image(path: Path, *, at_least: int | None = None) -> Image.Image:
    """Decode the first frame of a file to RGB, upright as its EXIF data say, transparency on white.

    `at_least`: the picture may come back smaller than it is, by 2, 4 or 8, as long as its shorter side keeps this many
    pixels; JPEG files then decode several times faster.
    Raises DataError whose message is only the reason, in one line; the caller knows the name.
    """
    try:
        if path.stat().st_size == 0:
            raise DataError("empty file")
        with Image.open(path, formats=_FORMATS) as image:
            _refuse_bomb(image)
            if at_least is not None:
                image.draft(None, (at_least, at_least))
            image.load()
            return _to_rgb(_upright(image))
    except DataError:
        raise
    except Exception as error:  # Pillow's readers fail on broken files in too many ways to list
        raise DataError(_reason(error)) from error


def _refuse_bomb(image: Image.Image) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise DataError(
            f"too large to be safe: {image.width} x {image.height} pixels, more than {limit // 10**6} million"
        )


def _reason(error: Exception) -> str:
    match error:
        case Image.DecompressionBombError():
            return "too large to be safe: hundreds of millions of pixels"
        case UnidentifiedImageError():
            return "not an image that can be read, whatever its name says"
        case FileNotFoundError():
            return "the file has disappeared"
        case MemoryError():
            return "too large for the memory of this machine"
        case struct.error() | EOFError() | IndexError():
            return "damaged or cut short"
        case OSError(strerror=str(cause)):
            return cause
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"damaged: {first_line}"


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels are usable without EXIF data
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _WHITE or image.mode.startswith("I;16"):
        return _from_wide_grey(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _from_wide_grey(image: Image.Image) -> Image.Image:
    """16-bit grey keeps its full range. 32-bit integers and floats have no standard white: the smallest customary range
    that contains every value is used; a picture outside all of them is stretched from its darkest to its lightest
    pixel."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = float(values.min()), float(values.max())
    white = next((white for white in _WHITE.get(image.mode, (65535.0,)) if low >= 0 and high <= white), None)
    if white is None:
        values = (values - low) / max(high - low, 1e-300)
        white = 1.0
    return Image.fromarray(np.round(values * (255 / white)).astype(np.uint8)).convert("RGB")


def map_in_threads(
    function: Callable[[_Item], _Result], items: Sequence[_Item], progress: Progress | None
) -> Iterator[_Result]:
    """Results of `function` in the order of `items`; decoding releases the interpreter, so threads help.

    `progress(done, total)` is called in the calling thread. Stopping early cancels what has not begun.
    """
    pool = ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 16))
    try:
        for done, result in enumerate(pool.map(function, items), start=1):
            if progress is not None:
                progress(done, len(items))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)

"""Any image file to RGB: one decoder for all kinds of pictures that people have in their folders."""

import contextlib
import os
import stat
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.ImageFile import ImageFile

from efficientformer.data.formats import NEEDS_HEIF, extension_of, formats_to_try, is_heif, why_not_read
from efficientformer.data.limits import MAX_PIXELS
from efficientformer.errors import DataError

# Larger pictures are decoded one at a time: each thread would hold several hundred MB.
_LARGE = 30_000_000
_one_large_picture = threading.Lock()

# White of modes with more than 8 bits: the possible values, smallest first.
_WHITE = {"I": (65535.0,), "F": (1.0, 255.0)}
# Orientations of EXIF by which a picture lies on its side.
_TURNED = (5, 6, 7, 8)

Progress = Callable[[int, int], None]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def read_image(path: Path, *, at_least: int | None = None, max_pixels: int | None = MAX_PIXELS) -> Image.Image:
    """Decode the first frame of a file; the arguments are those of `decode_image`, and so are the errors."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError("a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file")
        if status.st_size == 0:
            raise DataError("empty file")
        with path.open("rb") as stream:
            return decode_image(stream, extension_of(path.name), file=path, at_least=at_least, max_pixels=max_pixels)
    except OSError as error:
        raise DataError(_reason(error)) from error


def decode_image(
    stream: BinaryIO,
    extension: str,
    *,
    file: Path | None = None,
    at_least: int | None = None,
    max_pixels: int | None = MAX_PIXELS,
) -> Image.Image:
    """Decode the first frame of a picture to RGB, upright as its EXIF data say, transparency on white.

    extension: of its name, as `extension_of` has it: some formats are known by that alone.
    file: where the stream is a file of its own, that: some formats are then mapped into memory.
    at_least: the picture may come back smaller than it is, by 2, 4 or 8, as long as its shorter side keeps this many
        pixels; JPEG files then decode several times faster.
    max_pixels: larger JPEG files are decoded at a half, a quarter or an eighth of their size, other files are refused.
        None for no limit.

    Raises DataError whose message is only the reason, in one line; the caller knows the name.
    """
    try:
        _silence_pillow()
        with _open(stream, extension, file) as image:
            _limit(image, at_least, max_pixels)
            with _one_large_picture if image.width * image.height > _LARGE else contextlib.nullcontext():
                image.load()
                return _to_rgb(_upright(image))
    except DataError:
        raise
    except Exception as error:  # Pillow's readers fail on broken files in too many ways to list
        raise DataError(_reason(error)) from error


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, upright as its EXIF data say, from the beginning of its file.

    Raises DataError as `read_image` does.
    """
    try:
        _silence_pillow()
        with path.open("rb") as stream, _open(stream, extension_of(path.name), path) as image:
            width, height = image.size
            is_turned = image.getexif().get(ExifTags.Base.Orientation) in _TURNED
            return (height, width) if is_turned else (width, height)
    except DataError:
        raise
    except Exception as error:  # as in `decode_image`
        raise DataError(_reason(error)) from error


def _silence_pillow() -> None:
    """Pillow's warnings are for programmers; what matters to a user is the reason of a DataError.

    Once for the process rather than around every image: a change of the filters shows all other warnings again.
    """
    global _filter
    if _filter not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        _filter = warnings.filters[0]


_filter: object = None


def _open(stream: BinaryIO, extension: str, file: Path | None) -> ImageFile:
    """Like `Image.open`, which refuses large files before a size to decode them at can be set."""
    first_bytes = stream.read(16)
    for kind in formats_to_try(extension):
        reader, accepts = Image.OPEN[kind]
        is_accepted = accepts is None or accepts(first_bytes)
        # A text says what is missing to read the file.
        if not is_accepted or isinstance(is_accepted, str):
            continue
        stream.seek(0)
        with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):  # it is of another format
            return reader(stream, str(file or ""))
    if is_heif(first_bytes):
        raise DataError(NEEDS_HEIF)
    raise DataError(why_not_read(extension) or "not an image that can be read, whatever its name says")


def _limit(image: ImageFile, at_least: int | None, max_pixels: int | None) -> None:
    """Set the size to decode at. Raises DataError for a picture that cannot be decoded within `max_pixels`."""
    width, height = image.size
    reductions = [size for size in (1, 2, 4, 8) if at_least is None or min(width, height) // size >= at_least] or [1]
    reduction = 1 if at_least is None else reductions[-1]
    if max_pixels is not None and width * height > max_pixels:
        # Of a progressive file, all pixels are in memory before the first is decoded.
        can_be_reduced = image.format in ("JPEG", "MPO") and not image.info.get("progressive")
        fitting = [size for size in (1, 2, 4, 8) if -(-width // size) * -(-height // size) <= max_pixels]
        if not can_be_reduced or not fitting:
            raise DataError(
                f"{width} x {height} pixels, more than the {max_pixels:,} of --max-pixels; raise it for files you trust"
            )
        reduction = max(reduction, fitting[0])
    if reduction > 1:
        image.draft(None, (width // reduction, height // reduction))


def _reason(error: Exception) -> str:
    match error:
        case Image.DecompressionBombError():
            return "too large to be safe: hundreds of millions of pixels"
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
    with contextlib.suppress(Exception):  # the pixels are usable without EXIF data
        ImageOps.exif_transpose(image, in_place=True)  # otherwise a copy of every image, turned or not
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _WHITE or image.mode.startswith("I;16"):
        return _from_wide_grey(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def _from_wide_grey(image: Image.Image) -> Image.Image:
    """16-bit grey keeps its full range. 32-bit integers and floats have no standard white: the smallest customary range
    that contains every value is used; a picture outside all of them is stretched from its darkest to its lightest
    pixel."""
    # In strips: a large picture would take gigabytes as 64-bit numbers.
    strips = np.array_split(np.asarray(image), max(1, image.width * image.height // 2**22))
    ranges = [(values.min(), values.max()) for values in map(_as_numbers, strips) if values.size]
    low, high = float(min(low for low, _ in ranges)), float(max(high for _, high in ranges))
    white = next((white for white in _WHITE.get(image.mode, (65535.0,)) if low >= 0 and high <= white), None)

    def grey(strip: np.ndarray) -> np.ndarray:
        values = _as_numbers(strip)
        if white is None:
            values = (values - low) / max(high - low, 1e-300)
        return np.round(values * (255 / (white or 1.0))).astype(np.uint8)

    return Image.fromarray(np.concatenate([grey(strip) for strip in strips])).convert("RGB")


def _as_numbers(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values.astype(np.float64))


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

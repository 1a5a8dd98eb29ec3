"""Which files are pictures by their names: those that are read, and those that are named as skipped, with the reason.

Pillow's registry decides. HEIC is read where the package pillow-heif is installed.
"""

import contextlib
import importlib

from PIL import Image

_HEIF = (".heic", ".heif", ".heics", ".heifs", ".hif")
_AVIF, _JPEG_2000 = (".avif", ".avifs"), (".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c")
# Vector graphics, layers and raw sensor data have no pixels to read as they are; EPS would start another program.
_NOT_READ = frozenset(
    {".svg", ".svgz", ".eps", ".ps", ".pdf", ".ai", ".wmf", ".emf", ".psd", ".psb", ".xcf", ".kra", ".exr", ".hdr"}
    | {".jxl", ".jxr", ".wdp", ".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw"}
    | {".dcm", ".djvu", *_HEIF, *_AVIF, *_JPEG_2000}
)
# Readers that are stubs, start other programs or find no pixels.
_LEFT_OUT = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PSD", "WMF"})
# Names of JPEG files that Pillow does not register; .mpo holds several.
_OTHER_NAMES = dict.fromkeys((".jif", ".jfi", ".pjpeg", ".pjp", ".mpo"), "JPEG")
# Formats that are known by their first bytes. They are read whatever the file is called; others only by their names.
_BY_CONTENT = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "HEIF")


def _register() -> dict[str, str]:
    Image.init()
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    registered = {name: kind for name, kind in Image.registered_extensions().items() if kind not in _LEFT_OUT}
    return {name: kind for name, kind in (registered | _OTHER_NAMES).items() if kind in Image.OPEN}


_FORMATS = _register()
"""Format by extension, of the files that are read."""


def extension_of(name: str) -> str:
    """In lower case, with its dot; empty for a name without one."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def is_read(extension: str) -> bool:
    return extension in _FORMATS


def is_picture(extension: str) -> bool:
    """Whether files with this extension are pictures, read or not."""
    return extension in _FORMATS or extension in _NOT_READ


def formats_to_try(extension: str) -> list[str]:
    """Pillow's names of the formats that a file with this extension may have."""
    own = _FORMATS.get(extension, "")
    return [kind for kind in dict.fromkeys((*_BY_CONTENT, own)) if kind in Image.OPEN]


def why_not_read(extension: str) -> str | None:
    """The reason why pictures with this extension are not read, with the remedy; None for others."""
    if is_read(extension) or not is_picture(extension):
        return None
    if extension in _HEIF:
        return NEEDS_HEIF
    if extension in (*_AVIF, *_JPEG_2000):
        return f"this Pillow is built without a reader of {extension} files; convert it to JPEG or PNG"
    return f"{extension} files are not read; convert it to JPEG or PNG"


NEEDS_HEIF = "HEIC, which needs: pip install pillow-heif"


def is_heif(first_bytes: bytes) -> bool:
    """Whether a file begins like HEIC: phones also give such files other names."""
    return first_bytes[4:8] == b"ftyp" and first_bytes[8:12] in {b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"}

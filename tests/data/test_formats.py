"""Every kind of picture that Pillow reads is seen; what is not read is named with what to do."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image, features

from efficientformer.data.formats import is_read, why_not_read
from efficientformer.data.images import read_image
from efficientformer.data.walk import find_images
from efficientformer.errors import DataError

FEATURES = {"AVIF": "avif", "JPEG2000": "jpg_2000"}
SAVED_AS = {
    **dict.fromkeys((".jfif", ".JPE", ".jif", ".pjpeg", ".mpo"), "JPEG"),
    **{".dib": "DIB", ".apng": "PNG", ".pbm": "PPM", ".pnm": "PPM", ".tga": "TGA", ".pcx": "PCX", ".ico": "ICO"},
    **{".sgi": "SGI", ".dds": "DDS", ".qoi": "QOI", ".avif": "AVIF", ".jp2": "JPEG2000", ".j2k": "JPEG2000"},
}


@pytest.mark.parametrize("extension, kind", SAVED_AS.items())
def test_pictures_of_many_kinds_are_found_and_read(tmp_path, extension, kind):
    if {"AVIF": "avif", "JPEG2000": "jpg_2000"}.get(kind) and not features.check(
        {"AVIF": "avif"}.get(kind, "jpg_2000")
    ):
        pytest.skip("this Pillow cannot write it")
    Image.new("RGB", (16, 16), (200, 0, 0)).save(tmp_path / f"x{extension}", format=kind)
    (path,) = find_images(tmp_path).files
    red, green, _ = np.asarray(read_image(path)).reshape(-1, 3).mean(0)
    assert red > 180 and green < 20


@pytest.mark.parametrize("name", ["photo.psd", "drawing.svg", "figure.eps", "scan.pdf", "raw.CR2", "x.jxl"])
def test_what_looks_like_a_picture_and_is_not_read_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    found = find_images(tmp_path)
    (entry,) = found.left_out.skipped
    assert not found.files and entry.file == name and "convert" in entry.reason
    with pytest.raises(DataError, match="convert"):
        read_image(tmp_path / name)


def test_text_is_no_picture_under_any_name(tmp_path):
    for extension in (".tga", ".pcx", ".xbm", ".xpm", ".im", ".dds", ".ico", ".jpg", ".fits", ".pcd"):
        (tmp_path / f"x{extension}").write_text("these are words, and no picture\n" * 40)
        with pytest.raises(DataError):
            read_image(tmp_path / f"x{extension}")


HEIF = """
    import sys, types
    from PIL import Image, PngImagePlugin
    plugin = types.ModuleType("pillow_heif")
    def register_heif_opener():
        def accepts(first_bytes):
            return first_bytes[1:4] == b"PNG"
        Image.register_open("HEIF", PngImagePlugin.PngImageFile, accepts)
        Image.register_extensions("HEIF", [".heic", ".heif"])
    plugin.register_heif_opener = register_heif_opener
    if {installed}:
        sys.modules["pillow_heif"] = plugin
    else:
        sys.modules["pillow_heif"] = None
    from pathlib import Path
    from efficientformer.data.walk import find_images
    found = find_images(Path({folder!r}))
    print([path.name for path in found.files], [entry.reason for entry in found.left_out.skipped])
"""


@pytest.mark.parametrize("installed", [True, False])
def test_heic_is_read_with_its_plugin_and_named_without(tmp_path, installed):
    Image.new("RGB", (8, 8)).save(tmp_path / "x.heic", format="PNG")
    code = textwrap.dedent(HEIF).format(installed=installed, folder=str(tmp_path))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert ("['x.heic'] []" in result.stdout) is installed
    assert ("pip install pillow-heif" in result.stdout) is not installed


@pytest.mark.skipif(is_read(".heic"), reason="pillow-heif is installed")
def test_heic_under_another_name_says_what_it_is(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0" + bytes(100))
    with pytest.raises(DataError, match=r"HEIC.*pip install pillow-heif"):
        read_image(tmp_path / "x.jpg")


def test_reasons_are_for_pictures_only():
    assert why_not_read(".txt") is None and why_not_read(".png") is None

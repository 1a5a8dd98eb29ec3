import os
import struct
import subprocess
import sys
import time
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from efficientformer.data.images import map_in_threads, read_image
from efficientformer.errors import DataError


def pixels(path, **options):
    image = read_image(path, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


def test_grey_and_one_bit(tmp_path):
    Image.fromarray(np.array([[0, 100, 255]], dtype=np.uint8)).save(tmp_path / "grey.png")
    assert pixels(tmp_path / "grey.png").tolist() == [[[0] * 3, [100] * 3, [255] * 3]]
    Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1").save(tmp_path / "bit.png")
    assert pixels(tmp_path / "bit.png").tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.parametrize("mode, color", [("RGBA", (255, 0, 0, 0)), ("LA", (0, 0))])
def test_transparent_pixels_are_white(tmp_path, mode, color):
    Image.new(mode, (4, 4), color).save(tmp_path / "clear.png")
    assert (pixels(tmp_path / "clear.png") == 255).all()


def test_half_transparent_pixels_are_blended(tmp_path):
    Image.new("RGBA", (2, 2), (0, 0, 0, 128)).save(tmp_path / "half.png")
    assert (abs(pixels(tmp_path / "half.png").astype(int) - 127) <= 1).all()


@pytest.mark.parametrize("name", ["palette.png", "palette.gif"])
def test_palette_with_a_transparent_color(tmp_path, name):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image.save(tmp_path / name, transparency=1)
    assert pixels(tmp_path / name).tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_rgb_with_a_transparent_color(tmp_path):
    image = Image.new("RGB", (2, 1), (9, 9, 9))
    image.putpixel((1, 0), (1, 2, 3))
    image.save(tmp_path / "keyed.png", transparency=(9, 9, 9))
    assert pixels(tmp_path / "keyed.png").tolist() == [[[255, 255, 255], [1, 2, 3]]]


def test_cmyk(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=95)
    red = pixels(tmp_path / "print.jpg").reshape(-1, 3).mean(0)
    assert red[0] > 240 and red[1] < 15 and red[2] < 15


@pytest.mark.parametrize("name, dtype", [("wide.png", "<u2"), ("wide.tif", "<u2"), ("big_endian.tif", ">u2")])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, name, dtype):
    Image.fromarray(np.array([[0, 257, 32896, 65535]], dtype=dtype)).save(tmp_path / name)
    assert pixels(tmp_path / name)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_16_bit_pgm(tmp_path):
    (tmp_path / "wide.pgm").write_bytes(b"P5 3 1 65535\n" + struct.pack(">3H", 0, 25700, 65535))
    assert pixels(tmp_path / "wide.pgm")[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize(
    "values, expected",
    [
        ([0, 0.5, 1], [0, 128, 255]),
        ([0, 100, 255], [0, 100, 255]),
        ([-10, 0, 10], [0, 128, 255]),
        ([1000, 3000, 2000], [0, 255, 128]),
        ([7000, 7000, 7000], [0, 0, 0]),
        ([float("nan"), 0.2, 1], [0, 51, 255]),
    ],
)
def test_float_tiff(tmp_path, values, expected):
    Image.fromarray(np.array([values], dtype=np.float32)).save(tmp_path / "float.tiff")
    assert pixels(tmp_path / "float.tiff")[0, :, 0].tolist() == expected


def test_32_bit_integers(tmp_path):
    Image.fromarray(np.array([[0, 65535]], dtype=np.int32)).save(tmp_path / "int.tif")
    assert pixels(tmp_path / "int.tif")[0, :, 0].tolist() == [0, 255]
    Image.fromarray(np.array([[-5, 100000, 5]], dtype=np.int32)).save(tmp_path / "int.tif")
    assert pixels(tmp_path / "int.tif")[0, :, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize("name", ["photo.jpg", "photo.tif", "photo.webp"])
def test_exif_rotation(tmp_path, name):
    stored = Image.new("RGB", (32, 16), "black")
    stored.paste("white", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise to see it as it was
    stored.save(tmp_path / name, exif=exif)
    shown = pixels(tmp_path / name)
    assert shown.shape == (32, 16, 3)
    assert shown[:14].mean() > 240 and shown[18:].mean() < 15


def test_damaged_exif_does_not_hide_the_picture(tmp_path):
    Image.new("RGB", (8, 8), "white").save(
        tmp_path / "photo.jpg", exif=b"Exif\0\0" + b"MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 9
    )
    assert pixels(tmp_path / "photo.jpg").mean() > 250


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp", "moving.png", "pages.tif"])
def test_first_frame_of_several(tmp_path, name):
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    first.save(tmp_path / name, save_all=True, append_images=[second], **({"lossless": True} if "webp" in name else {}))
    assert (pixels(tmp_path / name) == [255, 0, 0]).all(axis=2).all()


def test_content_counts_more_than_the_name(tmp_path):
    Image.new("RGB", (3, 3), (1, 2, 3)).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "x.jpg")
    assert (pixels(tmp_path / "x.jpg") == [1, 2, 3]).all()


def test_at_least_shrinks_large_photos_only_and_keeps_enough(tmp_path):
    Image.new("RGB", (640, 480)).save(tmp_path / "large.jpg")
    assert read_image(tmp_path / "large.jpg", at_least=100).size == (160, 120)
    assert read_image(tmp_path / "large.jpg").size == (640, 480)
    Image.new("RGB", (64, 48)).save(tmp_path / "small.jpg")
    assert read_image(tmp_path / "small.jpg", at_least=100).size == (64, 48)


def png_of_size(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def noise_image(size):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png", "cut.webp", "cut.gif", "cut.bmp", "cut.tif", "cut.ppm"])
@pytest.mark.parametrize("at_least", [None, 8])
def test_truncated_files_are_refused_in_one_line(tmp_path, name, at_least):
    noise_image(64).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / name, at_least=at_least)
    assert "\n" not in str(caught.value) and len(str(caught.value)) > 5


def test_reasons(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("these are words")
    (tmp_path / "bomb.png").write_bytes(png_of_size(40000, 40000))
    (tmp_path / "drawing.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    )
    for name, reason in {
        "empty.jpg": "empty",
        "text.jpg": "not an image",
        "bomb.png": "40000 x 40000 pixels, more than the 150,000,000 of --max-pixels",
        "drawing.jpg": "not an image",
        "gone.jpg": "disappeared",
    }.items():
        with pytest.raises(DataError, match=reason):
            read_image(tmp_path / name)


def test_the_limit_is_exact_and_can_be_raised_and_left_out(tmp_path):
    (tmp_path / "large.png").write_bytes(png_of_size(20000, 20000))  # Pillow alone refuses it
    Image.new("RGB", (20, 10)).save(tmp_path / "small.png")
    for limit in (399_999_999, 1):
        with pytest.raises(DataError, match="20000 x 20000 pixels, more than"):
            read_image(tmp_path / "large.png", max_pixels=limit)
    with pytest.raises(DataError, match="20 x 10"):
        read_image(tmp_path / "small.png", max_pixels=199)
    assert read_image(tmp_path / "small.png", max_pixels=200).size == (20, 10)
    assert read_image(tmp_path / "small.png", max_pixels=None).size == (20, 10)


@pytest.mark.parametrize("limit, size", [(10**6, (1000, 500)), (499_999, (500, 250)), (1, None), (8000, (125, 63))])
def test_large_jpeg_files_are_decoded_at_the_largest_size_that_fits(tmp_path, limit, size):
    Image.new("RGB", (1000, 500), (0, 200, 0)).save(tmp_path / "x.jpg")
    if size is None:
        with pytest.raises(DataError, match="1000 x 500"):
            read_image(tmp_path / "x.jpg", max_pixels=limit)
        return
    image = read_image(tmp_path / "x.jpg", max_pixels=limit)
    assert image.size == size and 190 < np.asarray(image)[..., 1].mean() < 210


def test_the_limit_comes_before_the_smallest_size(tmp_path):
    Image.new("RGB", (1000, 500)).save(tmp_path / "x.jpg")
    assert read_image(tmp_path / "x.jpg", at_least=400, max_pixels=200_000).size == (500, 250)
    assert read_image(tmp_path / "x.jpg", at_least=60, max_pixels=200_000).size == (125, 63)


def test_progressive_jpeg_files_are_in_memory_as_a_whole_so_they_keep_the_limit(tmp_path):
    Image.new("RGB", (1000, 500)).save(tmp_path / "x.jpg", progressive=True)
    assert read_image(tmp_path / "x.jpg", max_pixels=500_000).size == (1000, 500)
    with pytest.raises(DataError, match="1000 x 500"):
        read_image(tmp_path / "x.jpg", max_pixels=499_999)


PHOTO_OF_A_PHONE = """
import resource, sys
from pathlib import Path
from efficientformer.data.images import read_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
size = read_image(Path(sys.argv[1])).size
print(size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory has other units elsewhere")
def test_a_photo_of_a_phone_is_read_within_bounds_and_without_words(tmp_path):
    photo = Image.new("L", (16320, 12240), 128)  # 200 megapixels, which Pillow alone refuses
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "photo.jpg", exif=exif.tobytes() + b"\xff" * 9)
    command = [sys.executable, "-W", "always", "-c", PHOTO_OF_A_PHONE, str(tmp_path / "photo.jpg")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    size, mib = result.stdout.rsplit(" ", 1)
    assert size == "(6120, 8160)" and int(mib) < 600 and result.stderr == ""


def test_pillow_is_silent_and_other_warnings_are_shown_once(tmp_path, recwarn):
    Image.new("RGB", (8, 8)).save(tmp_path / "x.jpg", exif=b"Exif\0\0" + b"MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 9)
    with warnings.catch_warnings():
        read_image(tmp_path / "x.jpg")
        filters = list(warnings.filters)
        read_image(tmp_path / "x.jpg")
        assert warnings.filters == filters, "a change would show all other warnings again"
    assert not [warning for warning in recwarn if "EXIF" in str(warning.message)]


@pytest.mark.parametrize("at_least", [None, 20])
@pytest.mark.parametrize("name", ["rotated.jpg", "print.jpg", "wide.png", "keyed.png", "palette.gif"])
def test_a_reduced_reading_shows_the_same_picture(tmp_path, name, at_least):
    """Training reads at a reduced size, `predict` reads everything."""
    stored = Image.new("RGB", (320, 160), "black")
    stored.paste((255, 0, 0), (0, 0, 160, 160))
    exif = Image.Exif()
    exif[0x0112] = 6
    match name:
        case "rotated.jpg":
            stored.save(tmp_path / name, exif=exif)
        case "print.jpg":
            stored.convert("CMYK").save(tmp_path / name, exif=exif)
        case "wide.png":
            Image.fromarray(np.asarray(stored.convert("L")).astype("<u2") * 257).save(tmp_path / name, exif=exif)
        case "keyed.png":
            stored.convert("P").save(tmp_path / name, transparency=0, exif=exif)
        case "palette.gif":
            stored.convert("P").save(tmp_path / name)
    shown = read_image(tmp_path / name, at_least=at_least)
    whole = np.asarray(read_image(tmp_path / name).resize((16, 16))).astype(int)
    assert shown.height > shown.width or name == "palette.gif"
    assert abs(np.asarray(shown.resize((16, 16))).astype(int) - whole).max() < 24


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path, reason in ((tmp_path / "pipe.png", "regular file"), (tmp_path, "a folder")):
        with pytest.raises(DataError, match=reason):
            read_image(path)


@pytest.mark.parametrize("position", range(0, 400, 37))
def test_damaged_headers_never_escape_as_other_errors(tmp_path, position):
    for name in ("x.png", "x.jpg", "x.gif", "x.tif", "x.webp", "x.bmp"):
        noise_image(12).save(tmp_path / name)
        content = bytearray((tmp_path / name).read_bytes())
        content[position % len(content)] ^= 0xFF
        (tmp_path / name).write_bytes(content)
        try:
            assert read_image(tmp_path / name).mode == "RGB"
        except DataError as error:
            assert "\n" not in str(error)


def test_map_in_threads_keeps_the_order_and_reports_progress():
    seen = []
    results = map_in_threads(lambda item: item * 2, range(50), lambda done, total: seen.append((done, total)))
    assert list(results) == [item * 2 for item in range(50)]
    assert seen == [(done, 50) for done in range(1, 51)]


def test_map_in_threads_stops_early():
    started = []

    def work(item):
        started.append(item)
        time.sleep(0.01)

    results = map_in_threads(work, range(2000), None)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(started) < 2000

"""Masks from an exported file: what it finds is what PyTorch finds, drawn over the photo; windows cover every pixel."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from efficientformer.arch.dense import SemanticFpn
from efficientformer.cli.app import run
from efficientformer.data.transforms import Preprocessing, eval_transform
from efficientformer.errors import RecordError
from efficientformer.exporting.onnx import export_onnx
from efficientformer.models.network import Network
from efficientformer.tasks.detection.drawing import color_of
from efficientformer.tasks.semantic.drawing import LEAST_SIDE, LEGEND, OPACITY, PADDING, draw_segments
from efficientformer.tasks.semantic.prediction import MaskPredictor, Segment, SegmentedImage
from efficientformer.tasks.semantic.scores import taken_classes
from efficientformer.tasks.semantic.sliding import Windows, starts

from ..exported import write_classifier
from ..models.small import SMALL_V2

CLASSES = ["sky", "road", "tree"]
PREPROCESSING = Preprocessing((32, 64), crop_ratio=1.0, is_stretched=True)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return Network(replace(SMALL_V2, head=SemanticFpn(16, 8)), num_classes=3, resolution=(32, 64)).eval()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    about = {"classes": CLASSES, "preprocessing": PREPROCESSING.to_json()}
    metadata = {name: json.dumps(value) for name, value in about.items()} | {"task": "semantic"}
    export_onnx(network, (1, 3, 32, 64), path, metadata)
    return path


@pytest.fixture(scope="module")
def photo():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((90, 50), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", [(7, 5), (50, 90), (200, 31)])
def test_classes_at_another_size_are_those_of_upsampled_logits(size, monkeypatch):
    monkeypatch.setattr("efficientformer.tasks.semantic.scores.MOST_NUMBERS", 500)
    logits_KHW = torch.randn(4, 8, 12, generator=torch.Generator().manual_seed(sum(size)))
    expected_HW = functional.interpolate(logits_KHW[None], size=size, mode="bilinear")[0].argmax(dim=0)
    assert (taken_classes(logits_KHW, *size) == expected_HW).float().mean() > 0.999, "but for ties of rounding"


def test_a_file_finds_what_the_network_finds(network, exported, photo):
    found = MaskPredictor(exported).predict(photo, "photo.png")
    with torch.inference_mode():
        logits = network(eval_transform(PREPROCESSING)(photo)[None])
    expected_HW = functional.interpolate(logits, size=(50, 90), mode="bilinear")[0].argmax(dim=0).numpy()
    assert found.mask.shape == (50, 90) and (found.mask == expected_HW).mean() > 0.999
    counts = np.bincount(found.mask.ravel(), minlength=3)
    assert [segment.number for segment in found.segments] == [n for n in np.argsort(-counts) if counts[n]]
    assert sum(segment.share for segment in found.segments) == pytest.approx(100)
    record = found.to_json()
    assert (record["width"], record["height"]) == (90, 50) and record["segments"][0]["class"] in CLASSES


def test_a_file_without_a_map_of_logits_is_refused(tmp_path):
    path = write_classifier(tmp_path / "model.onnx", task="semantic")
    with pytest.raises(RecordError, match="not logits of 3 classes for every pixel"):
        MaskPredictor(path)


def test_colors_lie_over_the_photo_and_the_legend_beside_it():
    mask = np.zeros((40, 80), np.uint8)
    mask[:, 60:] = 2
    segments = (Segment("sky", 0, 75.0), Segment("tree", 2, 25.0))
    drawing = draw_segments(Image.new("RGB", (80, 40), (200, 100, 0)), SegmentedImage("a.png", mask, segments))
    assert drawing.size == (LEAST_SIDE + LEGEND, 320)
    for x, number in ((100, 0), (600, 2)):
        expected = [
            (1 - OPACITY) * own + OPACITY * color for own, color in zip((200, 100, 0), color_of(number), strict=True)
        ]
        assert drawing.getpixel((x, 160)) == pytest.approx(expected, abs=1)
    for row, number in enumerate((0, 2)):
        assert drawing.getpixel((LEAST_SIDE + PADDING + 7, PADDING + 7 + 24 * row)) == color_of(number)
    legend = np.asarray(drawing)[:, LEAST_SIDE:]
    assert (legend[PADDING + 48 :] == 255).all() and (legend[:, 40:] < 128).any(), "two rows with names"


def test_more_classes_than_the_legend_has_room_for_are_counted():
    mask = (np.arange(64 * 16).reshape(16, 64) // 16).astype(np.uint8)
    segments = tuple(Segment(f"class {number}", number, 100 / 64) for number in range(64))
    drawing = draw_segments(Image.new("RGB", (64, 16)), SegmentedImage("a.png", mask, segments))
    assert drawing.size[1] < 200


def test_predict_draws_into_a_folder(exported, photo, tmp_path, capsys):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        photo.save(tmp_path / folder / "photo.png")
    drawn = tmp_path / "drawn"
    folders = [str(tmp_path / "one"), str(tmp_path / "two")]
    assert run(["predict", str(exported), *folders, "--draw", str(drawn), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["drawing"] == str(drawn / "photo.png") and second["mask"] == str(drawn / "photo-2.mask.png")
    with Image.open(first["mask"]) as mask:
        counts = np.bincount(np.asarray(mask).ravel(), minlength=3)
        assert mask.size == (90, 50)
    assert first["segments"][0]["share"] == pytest.approx(100 * counts.max() / counts.sum())
    assert run(["predict", str(exported), str(tmp_path / "one")]) == 0
    assert "%" in capsys.readouterr().out
    assert run(["predict", str(exported), str(tmp_path / "one"), "--sheet", "sheet.png"]) == 2
    assert "use --draw FOLDER" in capsys.readouterr().err
    classifier = write_classifier(tmp_path / "classes.onnx")
    assert run(["predict", str(classifier), str(tmp_path / "one"), "--draw", str(drawn)]) == 2
    assert "use --sheet FILE" in capsys.readouterr().err


@pytest.mark.parametrize(("size", "side"), [(32, 32), (33, 32), (53, 32), (54, 32), (200, 32)])
def test_windows_cover_every_pixel_and_overlap(size, side):
    begins = starts(size, side)
    assert begins[0] == 0 and begins[-1] == size - side
    assert all(0 < after - before <= 2 * side / 3 + 1 for before, after in itertools.pairwise(begins))


def test_windows_average_what_they_see():
    class Local(torch.nn.Module):
        """Answers by the pixel alone, and counts its images."""

        calls = 0

        def forward(self, x):
            assert x.shape[2:] == (16, 24)
            self.calls += 1
            return torch.cat([x, -x], dim=1)

    model, x = Local(), torch.rand(1, 3, 16, 60)
    torch.testing.assert_close(Windows(model, (16, 24))(x), torch.cat([x, -x], dim=1))
    assert model.calls == len(starts(60, 24)) == 4

"""`predict` walks folders as training does, and says what it left out."""

import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import DataError, UsageError
from efficientformer.exporting.onnx import export_onnx
from efficientformer.pipeline.predict import predict


class Greenness(torch.nn.Module):
    def forward(self, x_BCHW):
        return x_BCHW.mean((2, 3))[:, :2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Calls an image "red" or "green"."""
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    metadata = {"classes": '["red", "green"]', "preprocessing": json.dumps(Preprocessing(8).to_json())}
    export_onnx(Greenness(), (1, 3, 8, 8), path, metadata)
    return path


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "odd"
    for name, color in {"a.jfif": "red", "b/c.png": "green", "@eaDir/t.png": "red", "elsewhere/d.bmp": "green"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), color).save(root / name, format="JPEG" if name.endswith("f") else None)
    (root / "elsewhere").rename(tmp_path / "elsewhere")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root / "loop")
    (root / "phone.cr2").touch()
    (root / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    (root / "notes.txt").touch()
    return root


def test_a_folder_is_walked_as_in_training(model, folder):
    result = predict(model, folder)
    best = {os.path.relpath(each.file, folder): each.classes[0] for each in result.predictions}
    assert best == {"a.jfif": "red", "b/c.png": "green", "linked/d.bmp": "green"}
    reasons = {path.relative_to(folder).as_posix(): reason for path, reason in result.skipped}
    assert reasons.keys() == {"loop", "phone.cr2", "cut.jpg"}
    assert any("@eaDir/" in note for note in result.notes) and any(".txt" in note for note in result.notes)


def test_an_empty_folder_is_not_a_missing_one(model, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    for name, words in (("missing", "does not exist"), ("empty", "it is empty"), ("texts", r"no images.*\.txt")):
        with pytest.raises(DataError, match=words):
            predict(model, tmp_path / name)


@pytest.mark.skipif(not os.path.ismount("/proc"), reason="no /proc here")
@pytest.mark.parametrize("odd", ["/proc", "x" * 3000, "nul\0byte", "loop"])
def test_what_cannot_be_a_folder_of_images_is_named_next_to_what_is(model, folder, odd, monkeypatch):
    monkeypatch.chdir(folder)
    result = predict(model, [odd, folder / "a.jfif"])
    assert len(result.predictions) == 1
    ((path, reason),) = result.skipped
    assert str(path) == odd and reason


def test_a_file_of_a_name_that_is_no_picture_is_tried(model, folder):
    (folder / "a.jfif").rename(folder / "noname")
    assert predict(model, folder / "noname").predictions[0].classes[0] == "red"


def test_large_images(model, folder):
    Image.new("RGB", (100, 50), "green").save(folder / "b" / "large.png")
    Image.new("RGB", (100, 50), "green").save(folder / "b" / "large.jpg")
    result = predict(model, folder / "b", max_pixels=2000)
    assert [Path(each.file).name for each in result.predictions] == ["c.png", "large.jpg"]
    ((path, reason),) = result.skipped
    assert path.name == "large.png" and "--max-pixels" in reason
    predict(model, folder / "b", max_pixels=5000, sheet=folder / "sheet.png")
    with pytest.raises(UsageError, match="at least 1"):
        predict(model, folder, max_pixels=0)

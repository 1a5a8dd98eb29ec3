import numpy as np
import pytest
from PIL import Image

from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.loading.memory import hold_in_memory
from efficientformer.errors import DataError


@pytest.fixture
def photos(tmp_path):
    for class_name in ("cat", "dog"):
        (tmp_path / class_name).mkdir()
        for index in range(3):
            Image.new("RGB", (400, 300), (80 * index, 9, 99)).save(tmp_path / class_name / f"{index}.jpg")
        Image.new("RGB", (20, 30)).save(tmp_path / class_name / "small.jpg")
    return load_image_folder(tmp_path, val_fraction=0.25).train


def test_images_shrink_to_the_shorter_side_and_never_grow(photos):
    held = hold_in_memory(photos, 60)
    assert held.labels == photos.labels
    for index in range(len(photos)):
        assert held.name(index) == photos.name(index)
        assert held.image(index).size == ((20, 30) if "small" in held.name(index) else (80, 60))
        colors = [np.asarray(split.image(index)).mean((0, 1)) for split in (held, photos)]
        assert colors[0] == pytest.approx(colors[1], abs=2)


def test_subsets_still_work(photos):
    held = hold_in_memory(photos, 60)
    assert held.subset([3, 1]).name(1) == photos.name(1)


def test_a_split_that_is_too_large_stays_on_disk(photos):
    assert hold_in_memory(photos, 60, max_bytes=1000) is photos


def test_an_unreadable_image_is_named(photos, tmp_path):
    (tmp_path / photos.name(0)).write_bytes(b"")
    with pytest.raises(DataError, match=photos.name(0)):
        hold_in_memory(photos, 60)

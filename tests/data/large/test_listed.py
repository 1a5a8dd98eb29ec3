"""A long list is the same data set as a short one, without decoding its images at first."""

import pytest

from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.large import load
from efficientformer.errors import DataError

NAMES = [f"{index}.bmp" for index in range(12)]
ONE = ["cat" if index < 6 else "dog" for index in range(12)]
SEVERAL = ["cat|dog", "cat", "", "dog", "dog", "cat|dog", "red|cat", "red", "cat", "dog", "red|dog", "cat"]


@pytest.fixture
def photos(tmp_path, write_images):
    write_images(tmp_path, *NAMES)
    return tmp_path


def written(folder, labels, splits=None, name="list.csv"):
    rows = zip(NAMES, labels, splits or [""] * len(NAMES), strict=True)
    lines = [",".join(row if splits else row[:2]) for row in rows]
    (folder / name).write_text("\n".join(["path,label" + (",split" if splits else ""), *lines]) + "\n")
    return folder / name


def facts(dataset):
    splits = (dataset.train, dataset.val)
    return [[(split.name(index), split.labels[index]) for index in range(len(split))] for split in splits]


@pytest.mark.parametrize("labels", [ONE, SEVERAL])
@pytest.mark.parametrize("splits", [None, ["train", "train", "train", "val"] * 3])
def test_it_is_the_set_that_a_short_list_is(photos, monkeypatch, labels, splits):
    path = written(photos, labels, splits)
    small = load_image_folder(path)
    monkeypatch.setattr(load, "LARGE", 12)
    large = load_image_folder(path)
    assert facts(large) == facts(small)
    for name in ("name", "classes", "split_rule", "layout", "task", "warnings", "is_held_out"):
        assert getattr(large, name) == getattr(small, name), name
    assert any("12 images are not decoded before they are used" in note for note in large.notes)
    assert large.train.image(0).tobytes() == small.train.image(0).tobytes()


def test_a_broken_image_is_named_when_it_is_met_and_not_before(photos, monkeypatch):
    monkeypatch.setattr(load, "LARGE", 12)
    (photos / "3.bmp").write_bytes(b"BM no picture")
    dataset = load_image_folder(written(photos, ONE, ["train"] * 5 + ["val"] * 5 + ["train"] * 2))
    assert not dataset.skipped
    place = next(index for index in range(len(dataset.train)) if dataset.train.name(index) == "3.bmp")
    with pytest.raises(DataError, match=r"3\.bmp cannot be decoded"):
        dataset.train.image(place)


@pytest.mark.parametrize("labels", [ONE, SEVERAL])
def test_other_labels_make_it_another_set(photos, monkeypatch, labels):
    monkeypatch.setattr(load, "LARGE", 12)
    first = load_image_folder(written(photos, labels))
    assert load_image_folder(written(photos, labels, name="again.csv")).digest == first.digest
    assert load_image_folder(written(photos, [*labels[:11], labels[3]])).digest != first.digest


def test_a_class_of_one_split_is_refused_as_in_a_short_list(photos, monkeypatch):
    path = written(photos, ONE, ["train"] * 6 + ["val"] * 6)
    with pytest.raises(DataError) as short:
        load_image_folder(path)
    monkeypatch.setattr(load, "LARGE", 12)
    with pytest.raises(DataError) as long:
        load_image_folder(path)
    assert str(long.value) == str(short.value)

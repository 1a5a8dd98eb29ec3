"""Which folders are splits, which are classes; what is unclear is refused, what was understood is said."""

import pytest

from efficientformer.data.image_folder import load_image_folder
from efficientformer.errors import DataError

THREE = ("0.png", "1.png", "2.png")


@pytest.fixture
def tree(tmp_path, write_images):
    """tree("train/cat", "train/dog"): folders with three pictures each; returns the root."""

    def write(*folders):
        for folder in folders:
            write_images(tmp_path / "photos" / folder, *THREE)
        return tmp_path / "photos"

    return write


def splits(*names, classes=("a", "b")):
    return [f"{name}/{class_name}" for name in names for class_name in classes]


@pytest.mark.parametrize(
    "train, val",
    [
        ("Training", "Testing"),
        ("TRAIN", "VAL"),
        ("train_images", "test_images"),
        ("my-train", "my-test"),
        ("seg_train", "seg_test"),
        ("train2017", "val2017"),
        ("training_set", "validation_set"),
        ("TrainingSet", "ValidSet"),
        ("trainset", "testset"),
        ("train", "dev"),
        ("train", "eval"),
        ("Train Images", "Holdout Images"),
        ("trainval", "test"),
        ("train", "Validation"),
    ],
)
def test_splits_by_their_names(tree, train, val):
    dataset = load_image_folder(tree(*splits(train, val)))
    assert dataset.classes == ("a", "b")
    assert len(dataset.train) == len(dataset.val) == 6
    assert train in dataset.split_rule and val in dataset.split_rule
    assert train in dataset.layout and val in dataset.layout


@pytest.mark.parametrize(
    "train, val",
    [
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("archive/train", "archive/test"),
        ("archive/inner/Training", "archive/inner/Testing"),
        ("train/images", "val"),
    ],
)
def test_splits_one_level_deeper(tree, train, val):
    dataset = load_image_folder(tree(*splits(train, val)))
    assert dataset.classes == ("a", "b") and len(dataset.train) == len(dataset.val) == 6
    assert train in dataset.layout


def test_an_only_folder_around_the_classes_is_seen_through_and_said(tree):
    dataset = load_image_folder(tree("archive/photos/cat", "archive/photos/dog"))
    assert dataset.classes == ("cat", "dog") and "archive/photos" in dataset.layout


@pytest.mark.parametrize("wrapper", ["archive", "archive/photos v2"])
def test_a_picture_next_to_the_splits_does_not_hide_them(tree, write_images, wrapper):
    root = tree(*splits(f"{wrapper}/Training", f"{wrapper}/Testing"))
    write_images(root / wrapper, "cover.png")
    dataset = load_image_folder(root)
    assert dataset.classes == ("a", "b") and len(dataset.train) == len(dataset.val) == 6
    assert [(skipped.file, skipped.reason) for skipped in dataset.skipped] == [
        (f"{wrapper}/cover.png", "not in a class folder")
    ]


def test_a_sole_class_with_folders_of_its_own_stays_one_class(tree, write_images):
    root = tree("dogs/poodle", "dogs/pug")
    write_images(root / "dogs", "0.png")
    with pytest.raises(DataError, match=r"Only one class in .*: 'dogs'"):
        load_image_folder(root)


def test_a_folder_with_an_empty_one_beside_it_is_a_class(tree):
    root = tree("cat/2020", "cat/2021")
    (root / "dog").mkdir()
    with pytest.raises(DataError, match=r"No images of class 'dog'.*it is empty"):
        load_image_folder(root)


def test_folders_without_pictures_are_left_out_with_a_word(tree):
    root = tree("photos/cat", "photos/dog")
    (root / "annotations").mkdir()
    (root / "annotations" / "cat.xml").touch()
    dataset = load_image_folder(root)
    assert dataset.classes == ("cat", "dog") and any("annotations" in note for note in dataset.notes)


@pytest.mark.parametrize("name", ["test", "Test_Images", "test/unknown"])
def test_test_images_without_labels_are_left_out_with_a_word(tree, name):
    dataset = load_image_folder(tree(*splits("train"), name))
    assert dataset.classes == ("a", "b") and len(dataset.train) + len(dataset.val) == 6
    assert any(name.split("/")[0] in note and "labels" in note for note in dataset.notes)


def test_validation_images_come_before_test_images(tree):
    dataset = load_image_folder(tree(*splits("train", "valid", "test")))
    assert "valid" in dataset.split_rule
    assert any("test" in note and "not used" in note for note in dataset.notes)


def test_other_folders_beside_certain_splits_are_left_out_with_a_word(tree):
    dataset = load_image_folder(tree(*splits("train", "test"), "seg_pred/seg_pred", "sample"))
    assert dataset.classes == ("a", "b")
    assert any("sample" in note and "seg_pred" in note for note in dataset.notes)


@pytest.mark.parametrize(
    "folders, message",
    [
        (splits("fold1", "fold2"), "'fold1', 'fold2'.*'a', 'b'.*Which are the classes"),
        (splits("cat", "dog", classes=("train", "val")), "'cat', 'dog'.*'train', 'val'"),
        (["malaria/sick", "malaria/well", "sick", "well"], "'malaria'.*'sick', 'well'"),
        (["train", "test"], "no class folders.*labels"),
        (["trainA", "trainB", "testA"], "no class folders.*labels"),
        ([*splits("train"), "bus", "car"], "'train'.*'bus', 'car'"),
        ([*splits("training shoes", "running shoes", classes=("red", "blue"))], "'training shoes'.*'running shoes'"),
        (["bus", "car", "test/lab", "test/school"], "'test'.*no folder of training images"),
        (splits("train1", "train2"), "'train1', 'train2'"),
        (splits("train", "test1", "test2"), "'test1', 'test2'"),
        ([*splits("train"), "val"], "val has no class folders"),
    ],
)
def test_what_is_unclear_is_refused_with_what_was_seen(tree, folders, message):
    with pytest.raises(DataError, match=message):
        load_image_folder(tree(*folders))


@pytest.mark.parametrize(
    "classes",
    [
        ("bus", "test", "train"),
        ("bullet train", "bus", "steam train"),
        ("bus/old", "bus/new", "car/red", "steam_engine/x"),
        ("brain", "trainer", "devil"),
    ],
)
def test_classes_that_sound_like_splits(tree, classes):
    dataset = load_image_folder(tree(*classes))
    assert dataset.classes == tuple(sorted({name.split("/")[0] for name in classes}))


def test_a_class_called_train_with_folders_and_pictures_of_its_own(tree):
    dataset = load_image_folder(tree("train", "train/steam", "bus", "car"))
    assert dataset.classes == ("bus", "car", "train")
    assert "train" in dataset.layout

"""Data sets of Hugging Face's formats, made here: nothing is downloaded."""

import itertools
import pickle
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from efficientformer.data.hugging_face.name import HubName, is_hugging_face
from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.large import load
from efficientformer.data.loading.loader import View, train_batches
from efficientformer.errors import DataError, UsageError

GREY = View(lambda image: torch.tensor([image.convert("L").tobytes()[0]]))


@pytest.fixture
def make(tmp_path, monkeypatch):
    """make([(grey, label), ...]): a split with an image, a class of three, and words, for each."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def split(rows, **more):
        features = datasets.Features(
            {
                "picture": datasets.Image(),
                "label": datasets.ClassLabel(names=["owl", "cat", "dog"]),
                "words": datasets.Value("string"),
                **{name: feature for name, (feature, _) in more.items()},
            }
        )
        columns = {
            "picture": [Image.new("RGB", (8, 8), (grey,) * 3) for grey, _ in rows],
            "label": [label for _, label in rows],
            "words": [None] * len(rows),
            **{name: values for name, (_, values) in more.items()},
        }
        return datasets.Dataset.from_dict(columns, features=features)

    return split


ROWS = [(grey, grey % 3) for grey in range(12)]


def facts(split):
    return [(split.classes[label], split.image(i).getpixel((0, 0))[0]) for i, label in enumerate(split.labels)]


def expected(rows):
    classes = ("owl", "cat", "dog")
    return [(name, grey) for number, name in enumerate(classes) for grey, label in rows if label == number]


def saved(datasets_of, folder):
    import datasets

    datasets.DatasetDict(datasets_of).save_to_disk(folder)
    return folder


@pytest.mark.parametrize("is_large", [False, True])
def test_splits_classes_and_images(make, tmp_path, monkeypatch, is_large):
    monkeypatch.setattr(load, "LARGE", 5 if is_large else 100)
    val = [(100, 0), (101, 1), (102, 2)]
    folder = saved(
        {"train": make(ROWS), "validation": make(val), "test": make(val), "extra": make(val)}, tmp_path / "x"
    )
    dataset = load_image_folder(folder)
    assert dataset.classes == ("owl", "cat", "dog") and dataset.name == "x"
    assert facts(dataset.train) == expected(ROWS) and facts(dataset.val) == expected(val)
    assert dataset.train.name(0) == "train/00000000" and dataset.split_rule == "the split validation"
    assert dataset.notes[0] == "splits that are not used: test, extra" and len(dataset.notes) == 1 + is_large
    again = load_image_folder(f"hf:{folder}")
    assert again.digest == dataset.digest and facts(again.train) == facts(dataset.train)


def test_of_a_single_split_a_part_is_held_out(make, tmp_path):
    make(ROWS).shuffle(seed=1).select(range(3, 12)).save_to_disk(tmp_path / "one")
    dataset = load_image_folder(tmp_path / "one", val_fraction=0.3)
    assert dataset.is_held_out and dataset.val.num_images_per_class() == [1, 1, 1]
    together = sorted(facts(dataset.train) + facts(dataset.val))
    assert len({grey for _, grey in together}) == 9
    assert all(name == ("owl", "cat", "dog")[grey % 3] for name, grey in together)


def test_parquet_files(make, tmp_path):
    (tmp_path / "pq" / "data").mkdir(parents=True)
    make(ROWS).to_parquet(tmp_path / "pq" / "data" / "train-00000-of-00001.parquet")
    make(ROWS[:3]).to_parquet(tmp_path / "pq" / "data" / "test-00000-of-00001.parquet")
    dataset = load_image_folder(tmp_path / "pq")
    assert facts(dataset.train) == expected(ROWS) and facts(dataset.val) == expected(ROWS[:3])


def test_batches_are_the_same_in_workers_and_after_a_resume(make, tmp_path, monkeypatch):
    monkeypatch.setattr(load, "LARGE", 5)
    dataset = load_image_folder(saved({"train": make(ROWS), "val": make(ROWS)}, tmp_path / "x"))

    def steps(first, workers):
        batches = train_batches(dataset.train, GREY, batch_size=4, seed=3, start_step=first, workers=workers)
        made = [batch.images.flatten().tolist() for batch in itertools.islice(batches, 3 - first)]
        batches.close()
        return made

    whole = steps(0, 0)
    assert sorted(itertools.chain(*whole)) == [grey for grey, _ in ROWS] and steps(1, 2) == whole[1:]
    copy = pickle.loads(pickle.dumps(dataset.train))
    assert copy.image(5).tobytes() == dataset.train.image(5).tobytes()


def test_a_broken_image_is_named(make, tmp_path):
    import datasets

    split = make(ROWS).cast_column("picture", datasets.Image(decode=False))
    split = split.map(lambda row: {"picture": {"bytes": b"no picture", "path": None}} if row["label"] == 2 else {})
    saved({"train": make(ROWS), "val": make(ROWS)}, tmp_path / "whole")
    rows = datasets.concatenate_datasets([make(ROWS), split.cast_column("picture", datasets.Image())])
    dataset = load_image_folder(saved({"train": rows, "val": make(ROWS)}, tmp_path / "x"))
    assert [each.file for each in dataset.skipped] == [f"train/{12 + row:08d}" for row in (2, 5, 8, 11)]
    assert dataset.train.num_images_per_class() == [8, 8, 4]


def test_columns_that_are_not_certain_are_refused_and_can_be_chosen(make, tmp_path):
    import datasets

    fine = datasets.ClassLabel(names=[f"fine{number}" for number in range(4)])
    values = [grey % 4 for grey, _ in ROWS]
    rows = make(ROWS, fine=(fine, values), coarse=(fine, values)).remove_columns("label")
    rows.save_to_disk(tmp_path / "x")
    words = r"columns picture \(Image\), words \(Value\), fine \(ClassLabel\), .* Choose .*#fine"
    with pytest.raises(DataError, match=words):
        load_image_folder(tmp_path / "x")
    assert load_image_folder(f"hf:{tmp_path / 'x'}#fine", val_fraction=0.3).classes == tuple(fine.names)
    rows.remove_columns(["fine", "coarse"]).save_to_disk(tmp_path / "none")
    with pytest.raises(DataError, match="none of the type ClassLabel"):
        load_image_folder(tmp_path / "none")
    make(ROWS).remove_columns("picture").save_to_disk(tmp_path / "blind")
    with pytest.raises(DataError, match="one of the type Image is needed"):
        load_image_folder(tmp_path / "blind")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(1, 0), (2, 1), (3, -1)], "1 images of the split train of .* have no class"),
        ([(1, 0), (2, 1), (3, 0)], "No training image of 'dog'"),
    ],
)
def test_classes_that_cannot_be_learned_are_refused(make, tmp_path, rows, words):
    make(rows).save_to_disk(tmp_path / "x")
    with pytest.raises(DataError, match=words):
        load_image_folder(tmp_path / "x")


def test_what_cannot_be_opened_is_one_line(make, tmp_path):
    folder = saved({"train": make(ROWS)}, tmp_path / "x")
    (folder / "train" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(DataError, match=r"The data set .*x cannot be opened: .*arrow.*Write or download it") as caught:
        load_image_folder(folder)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_not_found_is_one_line(monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"nobody/none cannot be opened: .*Check the name and") as caught:
        load_image_folder("hf:nobody/none")
    assert "\n" not in str(caught.value)


def test_without_the_library_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"need the package datasets: pip install 'efficientformer\[datasets\]'"):
        load_image_folder("hf:nobody/none")


def test_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parse = HubName.parse
    assert parse(Path("hf:uoft-cs/cifar100#fine_label")) == HubName("uoft-cs/cifar100", None, "fine_label")
    assert parse(Path("hf:a/b:small")) == HubName("a/b", "small") and parse(Path("hf:a/b:small")).short == "b"
    assert parse(Path("hf:a/b:small#x")).absolute == "hf:a/b:small#x"
    (tmp_path / "with:colon").mkdir()
    assert parse(Path("hf:with:colon#x")) == HubName("with:colon", None, "x")
    assert parse(Path("hf:with:colon#x")).absolute == f"hf:{tmp_path}/with:colon#x"
    assert is_hugging_face(Path("hf:a/b")) and not is_hugging_face(tmp_path) and not is_hugging_face(tmp_path / "x")
    (tmp_path / "a.parquet").touch()
    assert is_hugging_face(tmp_path)
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "cat" / "0.png")
    assert not is_hugging_face(tmp_path)

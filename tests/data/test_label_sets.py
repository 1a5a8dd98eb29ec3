"""Lists whose images have several labels or none: what is read and refused, held out, drawn and loaded."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from efficientformer.data.dataset import UNLABELLED, ImageSplit, holdout
from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.loading.loader import eval_batches, train_batches, with_unlabelled
from efficientformer.data.loading.memory import MemorySource, hold_in_memory
from efficientformer.data.transforms import Preprocessing, eval_transform
from efficientformer.errors import DataError
from efficientformer.tasks.multi_label.view import LabelSetView

LABELS = [("cat",), ("dog",), ("cat", "dog"), (), ("cat", "red"), ("red",), ("dog",), ("cat", "dog", "red"), ()]


@pytest.fixture
def pictures(tmp_path, write_images):
    write_images(tmp_path, *(f"{index}.png" for index in range(len(LABELS))))
    return tmp_path


def write(folder, labels=LABELS, suffix=".csv", splits=None):
    path = folder / f"list{suffix}"
    rows = [{"path": f"{index}.png", "label": "|".join(each)} for index, each in enumerate(labels)]
    if suffix != ".csv":
        rows = [row | {"label": list(each)} for row, each in zip(rows, labels, strict=True)]
    for row, split in zip(rows, splits or [], strict=False):
        row["split"] = split
    if suffix == ".csv":
        path.write_text("\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]))
    else:
        path.write_text(json.dumps(rows) if suffix == ".json" else "\n".join(map(json.dumps, rows)))
    return path


def content(dataset):
    return {
        split.name(index): tuple(dataset.classes[number] for number in split.labels[index])
        for split in (dataset.train, dataset.val)
        for index in range(len(split))
    }


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl"])
def test_labels_come_back_as_they_were_listed(pictures, suffix):
    dataset = load_image_folder(write(pictures, suffix=suffix))
    assert dataset.task == "multi_label" == dataset.to_record()["task"] and dataset.classes == ("cat", "dog", "red")
    assert content(dataset) == {f"{index}.png": labels for index, labels in enumerate(LABELS)}
    assert "several labels an image" in dataset.layout
    assert dataset.digest == load_image_folder(write(pictures)).digest, "in whatever format they are listed"


def test_the_order_and_spaces_of_labels_make_no_difference_and_the_labels_do(pictures):
    digest = load_image_folder(write(pictures)).digest
    path = write(pictures)
    path.write_text(path.read_text().replace("cat|dog|red", " red| cat |dog"))
    assert load_image_folder(path).digest == digest
    path.write_text(path.read_text().replace("0.png,cat", "0.png,cat|red"))
    assert load_image_folder(path).digest != digest


def test_one_label_each_is_classification_also_in_arrays(pictures):
    ones = [("cat",), ("dog",)] * 3
    dataset = load_image_folder(write(pictures, ones, ".json"))
    assert dataset.task == "classification" and dataset.digest == load_image_folder(write(pictures, ones)).digest
    none = load_image_folder(write(pictures, [*ones, ()], ".json"))
    assert none.task == "multi_label", "an empty array says that there is none"


def test_a_single_label_that_images_have_or_not_is_enough(pictures):
    dataset = load_image_folder(write(pictures, [("cat",), ("cat",), ("cat",), (), (), ()], ".json"))
    assert dataset.classes == ("cat",) and all(0 < sum(map(len, part.labels)) < len(part) for part in (dataset.train,))


CSV = "path,label\n0.png,cat\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CSV + "1.png,\n2.png,dog\n", r"line 3: the label is empty .* several labels, such as cat\|dog"),
        (CSV + "1.png,cat|\n", "line 3: the label is empty"),
        (CSV + "1.png,dog|cat|dog\n", "line 3: the label 'dog' is given twice"),
        (CSV + "1.png,dog|cat\n1.png,dog\n", r"line 4: 1\.png has the label 'dog', but 'cat\|dog' in line 3"),
        (CSV + "1.png,dog|cat\n2.png,cat\n", "Too few usable images: 'dog' has 1"),
        (
            "path,label,split\n0.png,cat|dog,train\n1.png,cat|dog|red,val\n",
            "Only in validation: 'red'",
        ),
        ("path,label,split\n0.png,cat|dog,train\n1.png,,val\n", "No validation image of .* has a label"),
    ],
)
def test_a_list_that_cannot_be_used_is_one_line_with_its_place(pictures, text, expected):
    (pictures / "list.csv").write_text(text)
    with pytest.raises(DataError, match=expected) as error:
        load_image_folder(pictures / "list.csv")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("label", "expected"),
    [("[true]", "no text"), ('["a|b"]', "contains |"), ('["a", ""]', "empty"), ("[[]]", "no text")],
)
def test_so_is_an_array_of_anything_else(pictures, label, expected):
    (pictures / "list.jsonl").write_text('{"path": "0.png", "label": %s}' % label)  # noqa: UP031
    with pytest.raises(DataError) as error:
        load_image_folder(pictures / "list.jsonl")
    assert "line 1: the label" in str(error.value) and expected in str(error.value)


def test_a_class_without_validation_images_is_said(pictures):
    splits = ["val" if index in (2, 6) else "train" for index in range(len(LABELS))]
    dataset = load_image_folder(write(pictures, splits=splits))
    assert any("no validation image has 'red'" in warning for warning in dataset.warnings)


def made(labels, num_classes):
    names = [f"image{index}" for index in range(len(labels))]
    source = MemorySource(names, [np.zeros((8, 8, 3), np.uint8)] * len(labels))
    return ImageSplit(source, tuple(map(str, range(num_classes))), labels, [*range(len(labels))])


@pytest.mark.parametrize("seed", range(8))
def test_a_part_of_every_class_is_held_out_and_none_is_lost(seed):
    rng = np.random.default_rng(seed)
    drawn = rng.random((120, 5)) < [0.5, 0.3, 0.1, 0.05, 0.03]
    labels = [tuple(np.flatnonzero(row).tolist()) for row in drawn]
    split = made(labels, 5)
    rest, held = holdout(split, 0.2, seed)
    assert sorted(rest.positions + held.positions) == split.positions
    whole, left = split.num_images_per_class(), rest.num_images_per_class()
    assert all(count >= 1 for count, of in zip(left, whole, strict=True) if of)
    shares = [1 - count / of for count, of in zip(left, whole, strict=True) if of >= 10]
    assert all(0.1 <= share <= 0.35 for share in shares), shares
    without = Counter(labels)[()]
    assert sum(not label for label in held.labels) == round(0.2 * without)
    assert holdout(split, 0.2, seed)[1].positions == held.positions != holdout(split, 0.2, seed + 1)[1].positions


@pytest.mark.parametrize("seed", range(6))
def test_shares_are_met_where_images_allow_and_the_last_image_of_a_class_stays(seed):
    _, held = holdout(made([(0, 1)] * 10 + [(1,)] * 10, 2), 0.2, seed)
    assert held.num_images_per_class() == [2, 4], "an image that stays for its rare class is not held out for another"
    rest, _ = holdout(made([(0, 2), (0, 1), (1, 2)], 3), 0.5, seed)
    assert all(rest.num_images_per_class()), "two classes are served by two images, which would be all of the third"
    rest, held = holdout(made([(0, 1), (0, 2), (0,), (0,)], 3), 0.5, seed)
    assert {*held.labels} == {(0,)} and rest.num_images_per_class()[1:] == [1, 1]
    with pytest.raises(DataError, match="No image can be held out"):
        holdout(made([(0,), (1,)], 2), 0.5, seed)


def test_balanced_epochs_draw_the_rarest_label_of_images_alike():
    split = made([(0,)] * 20 + [(0, 1)] * 3 + [()] * 7, 2)
    assert Counter(split.groups()) == {0: 20, 1: 3, 2: 7}
    view = LabelSetView(eval_transform(Preprocessing(8)))
    batches = train_batches(split, view, batch_size=10, seed=0, is_balanced=True)
    marks = torch.cat([next(batches)[1] for _ in range(3)])
    assert marks.sum(dim=0).tolist() == [20.0, 10.0], "ten images of each group"


def test_batches_have_ones_at_the_classes_of_images(pictures):
    dataset = load_image_folder(write(pictures))
    split, view = hold_in_memory(dataset.train, 8), LabelSetView(eval_transform(Preprocessing(8)))
    _, marks = next(eval_batches(split, view, batch_size=len(split)))
    assert marks.dtype == torch.float32
    assert [tuple(row.nonzero()[:, 0].tolist()) for row in marks] == list(split.labels)
    more = made([UNLABELLED] * 2, 0)
    labelled, unlabelled = (train_batches(each, view, batch_size=2, seed=0) for each in (split, more))
    images, both = next(with_unlabelled(labelled, unlabelled))
    assert len(images) == 4 and both.shape == (4, 3) and (both[2:] == UNLABELLED).all() and (both[:2] >= 0).all()

import json
import os

import pytest

from efficientformer.data.image_folder import load_image_folder
from efficientformer.errors import DataError

SIX = tuple(f"{index}.png" for index in range(6))


@pytest.fixture
def pets(tmp_path, write_images):
    for part, names in (("train", SIX), ("val", SIX[:3])):
        for class_name in ("dog", "cat"):
            write_images(tmp_path / "pets" / part / class_name, *names)
    return tmp_path / "pets"


def rows_of(root, has_split=True):
    files = sorted(root.rglob("*.png"), reverse=True)
    return [
        {"path": file.relative_to(root).as_posix(), "label": file.parent.name}
        | ({"split": file.parent.parent.name} if has_split else {})
        for file in files
    ]


def write(root, rows, suffix=".csv"):
    path = root / f"pets{suffix}"
    if suffix == ".csv":
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    elif suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def content(dataset):
    return [
        [(split.name(index), dataset.classes[split.labels[index]]) for index in range(len(split))]
        for split in (dataset.train, dataset.val)
    ]


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl"])
def test_a_list_is_the_same_set_as_its_folders(pets, suffix):
    folders, listed = load_image_folder(pets), load_image_folder(write(pets, rows_of(pets), suffix))
    assert content(listed) == content(folders) and listed.digest == folders.digest
    assert (listed.name, listed.classes) == ("pets", folders.classes)
    assert not listed.is_held_out and "column split of pets" in listed.split_rule


def test_without_splits_the_images_of_folders_are_held_out(tmp_path, write_images):
    for class_name in ("dog", "cat"):
        write_images(tmp_path / class_name, *SIX)
    path = write(tmp_path, rows_of(tmp_path, has_split=False))
    folders = load_image_folder(tmp_path, val_fraction=0.4, seed=3)
    listed = load_image_folder(path, val_fraction=0.4, seed=3)
    assert listed.is_held_out and content(listed) == content(folders) and listed.digest == folders.digest
    assert content(load_image_folder(path, val_fraction=0.4, seed=4)) != content(listed)


def test_a_broken_image_is_skipped_and_named(pets):
    (pets / "train" / "dog" / "0.png").write_bytes(b"not a picture")
    dataset = load_image_folder(write(pets, rows_of(pets)))
    assert [skipped.file for skipped in dataset.skipped] == ["train/dog/0.png"]
    assert dataset.train.num_images_per_class() == [6, 5]


def test_a_changed_label_changes_the_digest(pets):
    rows = rows_of(pets)
    before = load_image_folder(write(pets, rows)).digest
    assert load_image_folder(write(pets, rows[::-1])).digest == before, "the order of rows makes no difference"
    rows[0]["label"] = "cat" if rows[0]["label"] == "dog" else "dog"
    assert load_image_folder(write(pets, rows)).digest != before


def test_labels_are_names_of_classes_whatever_the_folders_are(pets):
    rows = [row | {"label": f" r{int(row['path'][-5]) % 2} "} for row in rows_of(pets)]
    assert load_image_folder(write(pets, rows)).classes == ("r0", "r1")
    numbers = [row | {"label": int(row["path"][-5]) % 2} for row in rows_of(pets)]
    assert load_image_folder(write(pets, numbers, ".jsonl")).classes == ("0", "1")


def test_splits_have_the_names_that_folders_have(pets):
    named = {"train": "Training", "val": "test"}
    dataset = load_image_folder(write(pets, [row | {"split": named[row["split"]]} for row in rows_of(pets)]))
    assert len(dataset.train) == 12 and len(dataset.val) == 6
    rows = rows_of(pets)
    first_val = next(row for row in rows if row["split"] == "val")
    first_val["split"] = "test"
    dataset = load_image_folder(write(pets, rows))
    assert len(dataset.val) == 5 and any("1 images of the split test: not used" in note for note in dataset.notes)


def test_an_image_that_is_listed_again_counts_once(pets):
    rows = rows_of(pets)
    again = rows[0] | {"path": f"./{rows[0]['path']}"}
    dataset = load_image_folder(write(pets, [*rows, again]))
    assert len(dataset.train) + len(dataset.val) == 18
    assert any("lists 1 images more than once" in note for note in dataset.notes)


def test_absolute_paths_inside_and_the_files_of_spreadsheets_are_read(pets):
    rows = [row | {"path": str(pets / row["path"])} for row in rows_of(pets)]
    assert load_image_folder(write(pets, rows)).digest == load_image_folder(pets).digest
    lines = ["\ufeffpath;Label;split", *(";".join(row.values()) for row in rows_of(pets)), ";;", "", ""]
    path = pets / "excel.csv"
    path.write_text("\r\n".join(lines))
    assert load_image_folder(path).digest == load_image_folder(pets).digest


def test_a_cell_may_span_lines_and_the_line_number_stays_right(pets):
    path = pets / "pets.csv"
    path.write_text('path,label\ntrain/cat/0.png,"a\nb"\n')
    with pytest.raises(DataError, match=r"pets\.csv, line 2: the label"):
        load_image_folder(path)
    path.write_text('path,label\n"train/cat/0.png\n",cat\ntrain/cat/1.png,\n')
    with pytest.raises(DataError, match=r"pets\.csv, line 4: the label is empty"):
        load_image_folder(path)


CSV = "path,label\ntrain/cat/0.png,cat\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CSV + "train/cat/9.png,cat\ngone.png,dog\n", r"line 3: train/cat/9\.png: there is no such file.* 1 more"),
        (CSV + "train,dog\n", "line 3: train: a folder"),
        (CSV + "../outside.png,dog\n", r"line 3: \.\./outside\.png lies outside"),
        (CSV + "/etc/passwd,dog\n", "line 3: /etc/passwd lies outside"),
        (CSV + "train/cat/0.png,dog\n", "line 3: train/cat/0.png has the label 'dog', but 'cat' in line 2"),
        (CSV + "train/dog/0.png,\n", "line 3: the label is empty"),
        (CSV + ",dog\n", "line 3: the path is empty"),
        (CSV + "train/dog/0.png\n", "line 3: it has 1 cells, not 2"),
        (CSV + "train/dog/0.png,dog,wolf\n", "line 3: it has 3 cells, not 2"),
        (CSV + 'train/dog/0.png,"dog\n', "it is not CSV"),
        (CSV + "a\0b.png,dog\n", "line 3: .* is not the name of a file"),
        (CSV + "train/dog/0.png,d\x1bog\n", "line 3: the label .* contains"),
        (CSV, "Only one label in"),
        ("path,label\n", "lists no images"),
        ("", "lists no images"),
        ("filename,label\n", 'line 1: the column "filename" is not known'),
        ("path\n", "line 1: the column label is missing"),
        ("path,label,label\n", "line 1: a column is given twice"),
        ("path,label,split\ntrain/cat/0.png,cat,sunday\n", 'line 2: the split must be train or val, not "sunday"'),
        ("path,label,split\ntrain/cat/0.png,cat,train\ntrain/dog/0.png,dog,\n", "line 3: it has no split"),
        ("path,label,split\ntrain/cat/0.png,cat,val\n", "no row has the split train"),
        (
            "path,label,split\ntrain/cat/0.png,cat,train\ntrain/cat/0.png,cat,val\n",
            "line 3: train/cat/0.png has the split 'val', but 'train' in line 2",
        ),
        (
            "path,label,split\ntrain/cat/0.png,cat,train\ntrain/dog/0.png,dog,train\nval/cat/0.png,cat,val\n",
            "Only in training: 'dog'",
        ),
    ],
)
def test_a_list_that_cannot_be_used_is_one_line_with_its_place(pets, text, expected):
    path = pets / "pets.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=expected) as error:
        load_image_folder(path)
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value) and "pets" in str(error.value)


@pytest.mark.parametrize(
    ("suffix", "text", "expected"),
    [
        (".json", "{", "it is not JSON"),
        (".json", '{"path": "a"}', "it must be a list of objects"),
        (".json", '["a"]', "entry 1: it must be an object"),
        (".json", '[{"path": "a.png", "label": null}]', "entry 1: the label is empty"),
        (".json", '[{"path": "a.png", "label": true}]', "entry 1: the label is empty or no text"),
        (".json", '[{"path": 1, "label": "cat"}]', "entry 1: the path is empty or no text"),
        (".json", '[{"path": "a.png", "label": "cat", "weight": 1}]', 'entry 1: the name "weight" is not known'),
        (".json", "[" * 200 + "]" * 200, "lists or objects inside one another"),
        (
            ".jsonl",
            '{"path": "train/cat/0.png", "label": "cat"}\n\n{"path": \n',
            "line 3, cannot be used: it is not JSON",
        ),
        (".jsonl", '{"path": "train/cat/0.png", "label": "cat", "split": 1}', "line 1: the split must be"),
        (".jsonl", '{"path": "x\\udce9.png", "label": "cat"}', "line 1: .* is not the name of a file"),
    ],
)
def test_so_is_one_in_json(pets, suffix, text, expected):
    path = pets / f"pets{suffix}"
    path.write_text(text)
    with pytest.raises(DataError, match=expected) as error:
        load_image_folder(path)
    assert "\n" not in str(error.value)


def test_a_list_that_is_no_text_is_refused(pets):
    path = pets / "pets.csv"
    with pytest.raises(DataError, match=r"pets\.csv does not exist"):
        load_image_folder(path)
    path.write_bytes("path,label\na.png,Häuser\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"is not UTF-8 text\. A list of images is CSV, JSON or JSON Lines, in UTF-8"):
        load_image_folder(path)


def test_a_pipe_in_a_list_is_not_opened(pets):
    os.mkfifo(pets / "pipe.png")
    (pets / "pets.csv").write_text(CSV + "pipe.png,dog\n")
    with pytest.raises(DataError, match=r"line 3: pipe\.png: not a regular file"):
        load_image_folder(pets / "pets.csv")


def test_a_folder_may_be_called_like_a_list(tmp_path, write_images):
    for class_name in ("dog", "cat"):
        write_images(tmp_path / "pets.csv" / class_name, *SIX)
    assert load_image_folder(tmp_path / "pets.csv").classes == ("cat", "dog")


def test_labels_that_look_joined_are_named(pets):
    def notes(label):
        rows = [row | {"label": row["label"].replace("cat", label)} for row in rows_of(pets)]
        return load_image_folder(write(pets, rows, ".json")).notes

    assert "'dog;small' is one label; several labels of an image are separated by |" in notes("dog;small")
    assert notes("cat, Felis catus") == ()

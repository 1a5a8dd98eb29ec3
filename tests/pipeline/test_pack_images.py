"""The verb `data pack`: shards have the images, labels and splits of the folder, and are the same to the byte."""

import hashlib
import json
import os
from collections import Counter

import pytest
from PIL import Image

from efficientformer.cli.app import run
from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.shards import pack
from efficientformer.errors import DataError, UsageError
from efficientformer.pipeline.image_sets.pack import pack_images, parse_size

SMALL = "20kiB"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """20 pictures of cats and 20 of dogs, each of its own color, and one that is broken."""
    monkeypatch.chdir(tmp_path)
    for green, name in ((0, "cat"), (100, "dog")):
        (tmp_path / "photos" / name / "deeper").mkdir(parents=True)
        for index in range(20):
            folder = tmp_path / "photos" / name / ("deeper" if index > 15 else "")
            Image.effect_noise((16, 16), index + green).convert("RGB").save(folder / f"IMG.{index}.PNG")
    (tmp_path / "photos" / "cat" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "photos"


def facts(split):
    return Counter((split.classes[label], split.image(i).tobytes()) for i, label in enumerate(split.labels))


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def with_val(photos):
    (photos / "train").mkdir()
    for name in ("cat", "dog"):
        (photos / name).rename(photos / "train" / name)
        (photos / "val" / name).mkdir(parents=True)
        for path in sorted((photos / "train" / name).glob("*.?.PNG"))[:4]:
            path.rename(photos / "val" / name / path.name)


@pytest.mark.parametrize("has_val", [False, True])
def test_shards_are_the_set_that_the_folder_is(photos, has_val):
    """Also where validation images are held out: those of a run with the same seed."""
    if has_val:
        with_val(photos)
    record = pack_images(photos, "shards", shard_size=SMALL, seed=3, val_fraction=0.25)
    folder, shards = load_image_folder(photos, seed=3, val_fraction=0.25), load_image_folder("shards")
    assert shards.classes == folder.classes == ("cat", "dog")
    for name in ("train", "val"):
        assert facts(getattr(shards, name)) == facts(getattr(folder, name))
        assert record[name]["num_images"] == len(getattr(folder, name))
    assert len(record["train"]["shards"]) > 2 and record["num_written"] == len(list(photos.parent.glob("shards/*.tar")))
    assert [each["file"].rpartition("/")[2] for each in record["broken"]] == ["broken.png"]
    names = sorted(shards.train.name(index).partition(".tar/")[2] for index in range(len(shards.train)))
    assert names[0].startswith("cat/IMG_") and not [name for name in names if name.count(".") > 1]
    classes = [shards.train.labels[index] for index in sorted(range(len(shards.train)), key=shards.train.name)]
    assert len({*classes[:8]}) == 2, "the order is not that of the classes"


def test_the_same_images_make_the_same_bytes(photos, tmp_path):
    with_val(photos)
    pack_images(photos, "one", shard_size=SMALL)
    for path in photos.rglob("*.PNG"):
        os.utime(path, ns=(1, 1))
    pack_images(photos, "two", shard_size=SMALL)
    pack_images(photos, "other", shard_size=SMALL, seed=1)
    assert digests(tmp_path / "one") == digests(tmp_path / "two") != digests(tmp_path / "other")


def test_an_interrupted_packing_goes_on(photos, tmp_path, monkeypatch):
    pack_images(photos, "whole", shard_size=SMALL)
    added = []

    def interrupted(archive, name, content, add=pack._add):
        if len(added) == 50:
            raise KeyboardInterrupt
        added.append(name)
        add(archive, name, content)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pack, "_add", interrupted)
        pack_images(photos, "shards", shard_size=SMALL)
    written = {path: path.stat().st_ino for path in (tmp_path / "shards").glob("*.tar")}
    with pytest.raises(DataError, match=r"more of shards\.json is not there, .* repeat the command"):
        load_image_folder("shards")
    record = pack_images(photos, "shards", shard_size=SMALL)
    num_shards = len(record["train"]["shards"]) + len(record["val"]["shards"])
    assert len(written) == 3 and record["num_written"] == num_shards - len(written)
    assert {path: path.stat().st_ino for path in written} == written
    assert digests(tmp_path / "shards") == digests(tmp_path / "whole")


def test_a_lost_or_cut_shard_is_written_again(photos, tmp_path):
    pack_images(photos, "shards", shard_size=SMALL)
    before = digests(tmp_path / "shards")
    (tmp_path / "shards" / "train-000001.tar").unlink()
    (tmp_path / "shards" / "val-000000.tar").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"train-000001\.tar and 1 more of shards\.json is not there"):
        load_image_folder("shards")
    assert pack_images(photos, "shards", shard_size=SMALL)["num_written"] == 2
    assert digests(tmp_path / "shards") == before


def test_what_else_is_there_is_never_overwritten(photos, tmp_path):
    pack_images(photos, "shards", shard_size=SMALL)
    before = digests(tmp_path / "shards")
    for changed in ({"seed": 1}, {"shard_size": "30kiB"}, {"val_fraction": 0.5}):
        with pytest.raises(UsageError, match=r"holds shards of other images, or .* Choose another --out"):
            pack_images(photos, "shards", **{"shard_size": SMALL, **changed})
    Image.new("RGB", (16, 16), (1, 2, 3)).save(photos / "cat" / "new.png")
    with pytest.raises(UsageError, match="holds shards of other images"):
        pack_images(photos, "shards", shard_size=SMALL)
    assert digests(tmp_path / "shards") == before
    with pytest.raises(UsageError, match="is not empty"):
        pack_images(photos, photos)
    (photos / "file").touch()
    with pytest.raises(UsageError, match=r"--out .*file cannot be used: Not a directory"):
        pack_images(photos, photos / "file")


def test_names_that_webdataset_cannot_have_are_changed_and_stay_different(photos):
    pictures = [Image.new("RGB", (16, 16), (200, index, 0)) for index in range(4)]
    names = ["a.b.png", "a_b.png", "a_b.bmp", f"{'ü' * 60}.x.png"]
    for picture, name in zip(pictures, names, strict=True):
        picture.save(photos / "cat" / name)
    record = pack_images(photos, "shards", shard_size=SMALL, val_fraction=0.01)
    shards = load_image_folder("shards")
    found = {shards.train.name(i).partition(".tar/")[2] for i in range(len(shards.train))}
    assert {"cat/a_b.png", "cat/a_b-2.bmp", "cat/a_b-3.png", f"cat/{'ü' * 60}_x.png"} <= found
    sizes = {path.name: path.stat().st_size for path in (photos.parent / "shards").glob("train*.tar")}
    assert sum(sizes.values()) == record["train"]["num_bytes"] and max(sizes.values()) <= 20480


def test_webdataset_reads_them(photos):
    webdataset = pytest.importorskip("webdataset")
    record = pack_images(photos, "shards", shard_size=SMALL)
    urls = [str(photos.parent / "shards" / file) for file in record["train"]["shards"]]
    samples = [*webdataset.WebDataset(urls, shardshuffle=False).decode("pil")]
    ours = load_image_folder("shards").train
    assert Counter((ours.classes[each["cls"]], each["png"].tobytes()) for each in samples) == facts(ours)


def test_an_image_that_changes_meanwhile_ends_the_command(photos, monkeypatch):
    plan = pack.plan_shards

    def changing(*arguments, **options):
        Image.new("RGB", (16, 16)).save(photos / "cat" / "IMG.0.PNG")
        return plan(*arguments, **options)

    monkeypatch.setattr("efficientformer.pipeline.image_sets.pack.plan_shards", changing)
    with pytest.raises(DataError, match=r"cat/IMG\.0\.PNG has changed since it was checked"):
        pack_images(photos, "shards")


def test_the_command_prints_and_takes_json(photos, capsys):
    command = ["data", "pack", "photos", "--out", "shards", "--shard-size", SMALL]
    assert run(command) == 0
    text = capsys.readouterr().out
    assert "photos: 2 classes" in text and "broken: 1\n  cat/broken.png: not an image" in text
    assert "\ntrain: 32 images, " in text and "train-000000.tar to train-00000" in text
    assert run([*command, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["num_written"] == 0 and record["val"]["num_images"] == 8 and record["out"] == "shards"
    assert run(["data", "shards", "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert checked["train"]["per_class"] == [16, 16] and checked["broken"] == []
    assert run(["data", "pack", "photos"]) == 2


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 500_000_000), ("1.5 GiB", 1_610_612_736), ("20k", 20_000), ("20480", 20480)]
)
def test_sizes_are_parsed(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "1TB", "-5MB", "10", "nanMB"])
def test_sizes_that_cannot_be_are_refused(text):
    with pytest.raises(UsageError, match="--shard-size"):
        parse_size(text)


def test_several_labels_an_image_are_refused(photos, tmp_path):
    (tmp_path / "list.csv").write_text("path,label\nphotos/cat/IMG.0.PNG,cat|red\nphotos/dog/IMG.0.PNG,dog\n")
    with pytest.raises(UsageError, match="several labels an image"):
        pack_images("list.csv", "shards")
    (tmp_path / "list.csv").write_text(
        "path,label\n" + "".join(f"photos/{name}/IMG.{i}.PNG,{name}\n" for name in ("cat", "dog") for i in range(4))
    )
    assert pack_images("list.csv", "shards")["train"]["num_images"] == 6

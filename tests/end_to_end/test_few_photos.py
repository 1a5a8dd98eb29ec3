"""Few and uneven photos: a list in place of folders, balanced training, early stopping, from images to a file."""

import csv
import shutil
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import efficientformer
from efficientformer.arch.spaces import V2_QUICK
from efficientformer.models.create import create_model
from efficientformer.models.weights.load import save_weights
from efficientformer.reading import read_lines, read_record
from efficientformer.search.subnet import Subnet

pytestmark = pytest.mark.slow

SHORT = {"epochs": 3, "batch_size": 16, "lr_warmup_epochs": 0.0, "ema_decay": 0.5, "frozen_epochs": 0.0}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "start.safetensors"
    save_weights(create_model(Subnet.smallest(V2_QUICK).architecture, num_classes=5, resolution=16), path)
    return path


@pytest.fixture(scope="module")
def uneven(photos, tmp_path_factory):
    """The photos, with 5 of a class, 8 of another and 24 of the third for training."""
    root = tmp_path_factory.mktemp("uneven") / "stripes"
    shutil.copytree(photos, root)
    for name, kept in (("flat", 5), ("across", 8)):
        for index in range(kept, 24):
            (root / "train" / name / f"{index}.png").unlink()
    return root


@pytest.fixture(scope="module")
def listed(uneven):
    """The same photos as a list next to them, in an order of its own."""
    path = uneven / "list.csv"
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["label", "path", "split"])
        for file in sorted(uneven.rglob("*.png"), key=lambda file: file.name):
            rows.writerow([file.parent.name, file.relative_to(uneven).as_posix(), file.parent.parent.name])
    return path


def train(start, data, run_dir, **settings):
    given: dict[str, Any] = {"resolution": 16, "training_threads": 1, "export": {"autotune": False}, "seed": 2}
    given["train"] = SHORT | settings
    record = efficientformer.train(init=str(start), data=str(data), run_dir=run_dir, **given)
    folder = run_dir / "networks" / "start"
    return record, load_file(folder / "weights.safetensors"), folder


def test_a_list_trains_the_same_network_as_its_folders(start, uneven, listed, tmp_path, capsys):
    records, weights, folders = zip(
        *(train(start, data, tmp_path / data.name) for data in (uneven, listed)), strict=True
    )
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    left, right = (read_record(folder / "evaluation.json", Any) for folder in folders)
    assert left | {"provenance": 0} == right | {"provenance": 0}
    assert records[0]["balanced_accuracy"] == left["balanced_accuracy"]
    assert (folders[0] / "metrics.jsonl").read_text() == (folders[1] / "metrics.jsonl").read_text()
    text = " ".join(capsys.readouterr().err.split())
    assert "uneven classes: 'down' has 24 training images, 'flat' 5; --train.balance and --supernet.balance" in text
    assert "skipped train/flat/broken.png" in text and "the list list.csv" in text


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_a_balance_trains_another_network(start, listed, tmp_path, balance):
    _, plain, _ = train(start, listed, tmp_path / "plain")
    _, balanced, _ = train(start, listed, tmp_path / "balanced", balance=balance)
    assert not all(torch.equal(tensor, balanced[name]) for name, tensor in plain.items())


def test_patience_keeps_the_best_epoch_by_held_out_images(start, listed, tmp_path):
    # A learning rate too small to change a prediction: no epoch is better than the first.
    settings = {"patience": 2, "epochs": 9, "balance": "sampling", "lr": 1e-9, "ema_decay": 0.0}
    record, _, folder = train(start, listed, tmp_path / "run", **settings)
    assert record["kept_epoch"] == record["best_epoch"] < record["trained_epochs"] == record["best_epoch"] + 2
    lines = read_lines(folder / "metrics.jsonl", dict)
    scores = [line["held_out_balanced_accuracy"] for line in lines if "held_out_balanced_accuracy" in line]
    assert len(scores) == record["trained_epochs"]
    assert max(scores) == scores[record["best_epoch"] - 1]
    data = read_record(tmp_path / "run" / "data.json", Any)
    assert sum(data["train"]["per_class"]) == 37 and record["num_steps"] == record["trained_epochs"] * (33 // 16)

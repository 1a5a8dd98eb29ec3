"""A class for every pixel, from a classifier's weights to an exported file that scores as PyTorch does."""

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.nn import functional

from efficientformer.arch.cost import network_cost
from efficientformer.arch.dense import SemanticFpn
from efficientformer.arch.spec import Architecture
from efficientformer.models.network import Network
from efficientformer.models.weights.load import architecture_of, read_about, save_weights
from efficientformer.pipeline.run.open_run import design_request
from efficientformer.pipeline.run.settings import Settings
from efficientformer.reading import read_lines, read_record

from ..models.small import SMALL_V2
from .conftest import SCALE, answer
from .test_parent import SMALL as PARENT

SHORT = [
    *("--resolution", "16x32", "--semantic.fpn-width", "16", "--semantic.width", "8", "--workers", "0"),
    *("--train.epochs", "2", "--train.batch-size", "4", "--train.lr-warmup-epochs", "0", "--training-threads", "1"),
    *("--train.augmentation", "light", "--verify.rounds", "40", "--export.no-autotune"),
]


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    """Bright blocks on dark noise with index masks. For training one is beyond the classes, one is missing, and one is
    ignored as a whole; for validation one is."""
    root, rng = tmp_path_factory.mktemp("sets") / "streets", np.random.default_rng(0)
    for folder, count in (("training", 10), ("validation", 4)):
        for kind in ("images", "annotations"):
            (root / kind / folder).mkdir(parents=True)
        for index in range(count):
            mask = np.ones((20, 30), np.uint8)
            mask[5 : 10 + index, 8:20] = 2
            pixels = (rng.integers(0, 90, (20, 30, 3)) + 140 * (mask[..., None] == 2)).astype(np.uint8)
            Image.fromarray(pixels).save(root / "images" / folder / f"{index}.png")
            Image.fromarray(mask).save(root / "annotations" / folder / f"{index}.png")
    for folder in ("training", "validation"):
        Image.new("L", (30, 20), 255).save(root / "annotations" / folder / "2.png")
    Image.new("L", (30, 20), 7).save(root / "annotations" / "training" / "3.png")
    (root / "annotations" / "training" / "4.png").unlink()
    (root / "classes.txt").write_text("0 void\n1 road\n2 car\n")
    return root


@pytest.fixture(scope="module")
def trained(streets, weights, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "streets"
    arguments = ("train", "--init", weights, "--data", streets, "--run-dir", run_dir, *SHORT)
    return run_dir, answer(*arguments, "--skip-bad"), arguments


def test_a_classifier_becomes_a_task_model(trained, weights):
    run_dir, (said, spoken), _ = trained
    folder = run_dir / "networks" / "small"
    evaluation = read_record(folder / "evaluation.json", Any)
    assert said["miou"] == evaluation["miou"] and {row["name"] for row in evaluation["per_class"]} == {"road", "car"}
    assert sum(map(sum, evaluation["confusion"])) == 3 * 20 * 30, "every pixel at the size of the masks"
    losses = [json.loads(line).get("loss", 0.0) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert np.isfinite(losses).all() and "masks are ignored as a whole (images/training/2.png" in spoken
    architecture, about = architecture_of(folder / "weights.safetensors"), read_about(folder / "weights.safetensors")
    assert str(architecture.head) == "Semantic FPN 16-8" and architecture.widths == SMALL_V2.widths
    assert about["task"] == "semantic" and about["resolution"] == (16, 32)
    data = read_record(run_dir / "data.json", Any)
    assert data["task"] == "semantic" and data["preprocessing"]["is_stretched"] and data["train"]["num_images"] == 8
    assert [row["file"] for row in data["skipped"]] == ["images/training/3.png", "images/training/4.png"]
    examples = read_record(folder / "examples" / "examples.json", Any)
    assert examples["num_images"] == 3 and [len(examples[group]) for group in ("best", "worst")] == [2, 1]
    scores = [row["score"] for group in ("best", "worst") for row in examples[group]]
    assert scores == sorted(scores, reverse=True)
    drawings = {name for group in ("best", "worst") for row in examples[group] for name in row["drawings"]}
    assert {path.name for path in (folder / "examples").iterdir()} == {"examples.json", *drawings}
    assert len(drawings) == 6
    assert {row["name"] for row in examples["classes"]} <= {"road", "car"}
    assert "has the value 7" in spoken and "it has no mask" in spoken and "the head is new" in spoken


def test_a_bad_mask_ends_the_command_in_one_line(streets, weights, program, tmp_path):
    code, _, stderr = program("train", "--init", weights, "--data", streets, "--run-dir", tmp_path, *SHORT)
    assert code == 1 and "training/3.png: its mask" in stderr and "--skip-bad" in stderr


def test_the_same_command_finds_it_done_and_sliding_scores_again(trained, program):
    run_dir, _, arguments = trained
    before = read_record(run_dir / "networks" / "small" / "evaluation.json", Any)["miou"]
    examples = run_dir / "networks" / "small" / "examples" / "examples.json"
    assert program(*arguments)[2].count("up to date") == 4
    drawn = examples.read_text()
    examples.unlink()  # as of a run of an earlier version
    (examples.parent / "best-9-found-00000000.jpg").write_bytes(b"of an earlier evaluation")
    assert program(*arguments)[2].count("up to date") == 3 and examples.exists()
    stderr = program(*arguments, "--semantic.sliding")[2]
    assert stderr.count("up to date") == 3 and "semantic.sliding changed" in stderr
    stderr = program(*arguments, "--semantic.no-sliding")[2]
    assert "evaluate small" in stderr and "again, because semantic.sliding changed from True to False" in stderr
    assert read_record(run_dir / "networks" / "small" / "evaluation.json", Any)["miou"] == before
    again = without_provenance(examples.read_text())
    assert again == without_provenance(drawn)
    drawings = {name for group in ("best", "worst") for row in again[group] for name in row["drawings"]}
    assert {path.name for path in examples.parent.iterdir()} == {"examples.json", *drawings}, "others were removed"


def without_provenance(text: str) -> dict[str, Any]:
    return {name: value for name, value in json.loads(text).items() if name != "provenance"}


def test_the_exported_file_scores_as_pytorch(trained, streets, program, tmp_path):
    run_dir, (said, _), _ = trained
    file = run_dir / "networks" / "small" / "model.onnx"
    ((record,), _) = answer("evaluate", file)
    assert record["miou"] == pytest.approx(said["miou"], abs=0.1) and record["pytorch"] == said["miou"]
    code, table, _ = program("evaluate", file)
    assert code == 0 and [line.split()[0] for line in table.splitlines()] == ["class", "road", "car"]
    code, _, stderr = program("evaluate", file, "--data", streets, "--task", "classification")
    assert code == 1 and "--skip-bad" in stderr, "the file's own task holds"
    other = tmp_path / "other"
    (other / "images").mkdir(parents=True)
    (other / "masks").mkdir()
    for index in range(3):
        Image.new("L", (30, 20), index % 2).save(other / "images" / f"{index}.png")
        Image.new("L", (30, 20), index % 2).save(other / "masks" / f"{index}.png")
    (other / "classes.txt").write_text("0 road\n1 bus\n")
    code, _, stderr = program("evaluate", file, "--data", other)
    assert code == 2 and "of the classes road, car" in stderr and "road, bus" in stderr


def test_a_task_model_is_tuned_further_with_its_head(trained, streets, tmp_path, monkeypatch, program):
    """And with dropout in the head, in training steps alone."""
    rates, plain = [], functional.dropout2d

    def dropout2d(x, rate):
        rates.append(rate)
        return plain(x, rate)

    monkeypatch.setattr(functional, "dropout2d", dropout2d)
    weights = trained[0] / "networks" / "small" / "weights.safetensors"
    arguments = ("--init", weights, "--data", streets, "--skip-bad", "--run-dir", tmp_path, *SHORT[2:])
    said, spoken = answer("train", *arguments, "--train.head-dropout", "0.3")
    assert rates == [0.3] * said["num_steps"]
    settings = read_record(tmp_path / "stamps" / "fine-tune small.json", Any)["settings"]
    assert settings["train.head_dropout"] == 0.3
    before = read_record(trained[0] / "stamps" / "fine-tune small.json", Any)["settings"]
    assert "train.head_dropout" not in before, "without it, earlier runs stay up to date"
    assert said["head"] == "kept" and "16x32 px, as " in spoken, "the file's resolution is taken"


def test_a_task_that_the_images_are_not_for_is_refused(streets, photos, weights, program, tmp_path):
    start = ("train", "--init", weights, "--run-dir", tmp_path)
    code, _, stderr = program(*start, "--data", photos, "--task", "semantic")
    assert code == 1 and "holds no images with masks. It needs images/, annotations/ or masks/" in stderr
    code, _, stderr = program(*start, "--data", photos, "--task", "multi_label")
    assert code == 2 and "--task multi_label is for images with several labels or none" in stderr


def test_a_design_from_new_weights_blends_no_images(streets, program, tmp_path):
    """The recipe of classifiers has mixup, which was refused after an hour of search."""
    settings = design_request(Settings(data=str(streets)), tmp_path / "run", None).resolved()
    assert (settings.preset, settings.train.mixup, settings.train.cutmix) == ("standard", 0, 0)
    arguments = ("design", "--data", streets, "--skip-bad", "--run-dir", tmp_path / "run", "--train.mixup", "0.2")
    code, _, stderr = program(*arguments)
    assert code == 2 and stderr.splitlines()[-1].endswith("are not blended: set mixup and cutmix to 0.")
    assert not (tmp_path / "run" / "table.json").exists()


@pytest.mark.slow
def test_a_task_model_is_designed_for_a_budget(streets, tmp_path):
    """Backbone and head together, from a classifier's weights to a file that was measured."""
    weights, deep = tmp_path / "parent.safetensors", [*PARENT["stages"]]
    deep[0] = {**deep[0], "blocks": deep[0]["blocks"] * 4}
    save_weights(Network(Architecture.from_json({**PARENT, "stages": deep}), num_classes=5, resolution=16), weights)
    options = ["--parent.epochs", "1", "--parent.batch-size", "4", "--table.rounds", "2", "--slim.polish", "2"]
    options += ["--skip-bad", "--device", f"{SCALE} first", "--seed", "1", "--budget", "70%", "--budget", "49%"]
    arguments = ("design", "--init", weights, "--data", streets, "--run-dir", tmp_path / "run", *SHORT, *options)
    (found, second), spoken = answer(*arguments)
    assert second["kept"] and second["measured_ms"] < found["measured_ms"]
    half_way = [*read_lines(tmp_path / "run" / "slim" / "recovery.jsonl", Any)]
    assert half_way and max(line["teacher_loss"] for line in half_way) < 0.01, "a mean over pixels, not a sum"
    assert found["kept"] and 0 <= found["miou"] <= 100 and "top1" not in found
    largest = architecture_of(tmp_path / "run" / "supernet" / "parent.safetensors")
    designed = Architecture.from_json(found["architecture"])
    assert str(largest.head) == "Semantic FPN 16-8" and isinstance(designed.head, SemanticFpn)
    assert network_cost(designed, (16, 32), 2).num_params < network_cost(largest, (16, 32), 2).num_params
    table = read_record(tmp_path / "run" / "table.json", Any)
    assert table["error"]["mean_percent"] < 1, "the head's parts are in the sum"
    assert "soft" in spoken
    assert "(report)" not in spoken

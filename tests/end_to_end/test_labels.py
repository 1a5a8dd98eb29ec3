"""Several labels an image: from a list to a measured network that answers with labels."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

from efficientformer.formats.network import Evaluation
from efficientformer.reading import read_lines, read_record

from .conftest import TINY, answer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Noise that has bars or not, and is bright or not: all four kinds, one of which has no label."""
    root = tmp_path_factory.mktemp("labels")
    generator = np.random.default_rng(0)
    with (root / "list.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "label"])
        for index in range(120):
            has_bars, is_bright = index % 2, index // 2 % 2
            pixels = 100 + generator.normal(0, 20, (24, 24)) + 50 * is_bright
            pixels += has_bars * 70 * np.sin(np.arange(24) * 1.2)[:, None]
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("RGB").save(root / f"{index}.png")
            rows.writerow([f"{index}.png", "|".join(["bars"] * has_bars + ["bright"] * is_bright)])
    return root / "list.csv"


@pytest.fixture(scope="module")
def labelled(listed, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "labels"
    given = dict(zip(TINY[::2], TINY[1::2], strict=True))
    given |= {"--budget": "50%", "--slim.polish": "2", "--slim.trials": "2", "--slim.trial-epochs": "1"}
    given |= {"--train.epochs": "5", "--train.patience": "3", "--train.cutmix": "0.5"}
    options = [text for pair in given.items() for text in pair]
    return run_dir, *answer("design", "--data", listed, "--run-dir", run_dir, *options)


def test_a_list_of_labels_ends_in_a_network_that_learned_them(labelled):
    run_dir, result, said = labelled
    (network,) = result
    assert network["mean_ap"] > 80 and network["kept"] and "top1" not in network
    assert "several labels an image" in said and f"mAP {network['mean_ap']:.1f} %" in said
    assert read_record(run_dir / "data.json", dict)["task"] == "multi_label"
    folder = run_dir / "networks" / network["slug"]
    evaluation = read_record(folder / "evaluation.json", Evaluation)
    assert [row["name"] for row in evaluation["per_class"]] == ["bars", "bright"] and "confusion" not in evaluation
    trace, supernet = (read_record(run_dir / path, dict) for path in ("slim/trace.json", "supernet/record.json"))
    assert all(step["mean_ap"] <= 100 for step in [trace["start"], *trace["steps"]])
    assert len(trace["budgets"][0]["trials"]) == 2 and "trial_mean_ap" in trace["budgets"][0]["trials"][0]
    assert supernet["held_out_mean_ap"] > 60
    names = {name for line in read_lines(folder / "metrics.jsonl", dict) for name in line}
    assert {"held_out_mean_ap", "val_mean_ap"} <= names and not any("top1" in name for name in names)


def test_the_report_speaks_of_its_scores(labelled):
    run_dir, result, _ = labelled
    page = re.sub(r"<(script|style).*?</\1>", "", (run_dir / "report.html").read_text(), flags=re.DOTALL)
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "mAP (%)" in text and f"{result[0]['mean_ap']:.1f}" in text and "Average precision by class" in text
    assert "top-1" not in text and "onfusions" not in text and "does not have the expected form" not in text


def test_the_exported_file_answers_with_labels(labelled, listed, program):
    run_dir, result, _ = labelled
    file = run_dir / "networks" / result[0]["slug"] / "model.onnx"
    export = read_record(file.with_name("export.json"), dict)
    assert export["metadata"]["task"] == "multi_label"
    images = [listed.with_name(f"{index}.png") for index in range(40)]
    code, out, _ = program("predict", file, *images, "--sheet", run_dir / "sheet.png", "--json")
    found = [{row["class"] for row in image["labels"]} for image in json.loads(out)]
    wanted = [{name for name, has in (("bars", i % 2), ("bright", i // 2 % 2)) if has} for i in range(40)]
    right = np.mean([name in theirs for theirs, ours in zip(found, wanted, strict=True) for name in ours])
    assert code == 0 and right > 0.6 and (run_dir / "sheet.png").exists()


def test_the_same_command_continues_and_another_label_is_other_images(labelled, listed, program):
    run_dir, _, _ = labelled
    code, _, said = program("evaluate", "--run-dir", run_dir)
    assert code == 0 and "up to date" in said
    code, _, said = program("slim", "--run-dir", run_dir, "--slim.metric", "top1")
    assert code == 2 and "slim.metric top1 is no score of images with several labels or none" in " ".join(said.split())
    rows = listed.read_text()
    listed.write_text(rows.replace("1.png,bars\n", "1.png,\n", 1))
    try:
        code, _, said = program("evaluate", "--run-dir", run_dir)
        assert code == 2 and "the images changed" in " ".join(said.split())
    finally:
        listed.write_text(rows)

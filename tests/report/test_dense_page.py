"""The page of a run with masks or boxes: scores by class, confusions, the best and the worst images; of a training."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.report import render_report
from efficientformer.report.class_scores import class_table, evaluation_table
from efficientformer.report.run.evaluation_sections import examples
from efficientformer.report.run.load import load_run
from efficientformer.report.wording import ABSENT

from .made_run import HOSTILE
from .page import Page, is_whole
from .test_page import write_rounds

CLASSES = ["sky", HOSTILE, "never seen"]
SEMANTIC = {
    "miou": 55.0,
    "mean_accuracy": 66.0,
    "pixel_accuracy": 77.0,
    "num_images": 3,
    "per_class": [
        {"name": "sky", "iou": 80.0, "accuracy": 90.0, "num_images": 3, "num_pixels": 3_000_000},
        {"name": HOSTILE, "iou": 30.0, "accuracy": 42.0, "num_images": 1, "num_pixels": 1000},
        {"name": "never seen", "iou": None, "accuracy": None, "num_images": 0, "num_pixels": 0},
    ],
    "confusion": [[2_700_000, 300_000, 0], [580, 420, 0], [0, 0, 0]],
}
DETECTION = {
    "box_ap": 44.4,
    "ap50": 61.5,
    "num_images": 3,
    "per_class": [
        {"name": "cat", "ap": 44.4, "num_images": 2, "num_boxes": 5},
        {"name": "dog", "ap": None, "num_images": 0, "num_boxes": 0},
    ],
}


@pytest.fixture
def dense_run(run_dir: Path) -> Path:
    """The run with masks: every network has an evaluation, and one of them examples."""
    for path in run_dir.glob("networks/*/evaluation.json"):
        write_record(path, SEMANTIC)
    of_task(run_dir / "data.json", {"task": "semantic"})
    of_task(run_dir / "supernet" / "record.json", {"held_out_miou": 50.0})
    trace = read_record(run_dir / "slim" / "trace.json", Any)
    for row in (trace["start"], *trace["steps"]):
        row["miou"] = row.pop("top1")
    for budget in trace["budgets"]:
        for trial in budget["trials"]:
            trial["trial_miou"] = trial.pop("trial_top1")
    write_record(run_dir / "slim" / "trace.json", trace)
    result = read_record(run_dir / "result.json", Any)
    write_record(run_dir / "result.json", [{**row, "miou": row.pop("top1")} for row in result])
    write_examples(run_dir / "networks" / "40pct" / "examples")
    return run_dir


def of_task(path: Path, more: dict[str, Any]) -> None:
    write_record(path, {**read_record(path, Any), **more})


def write_examples(folder: Path, drawings: int = 2) -> None:
    folder.mkdir(parents=True)
    rows = {}
    for group, score in (("best", 88.8), ("worst", 11.1)):
        names = [f"{group}-1-{place}.jpg" for place in range(drawings)]
        for place, name in enumerate(names):
            Image.new("RGB", (8, 6), (0, 100 * place, round(score))).save(folder / name)
        rows[group] = [{"file": f"val/{HOSTILE}-{group}.jpg", "score": score, "drawings": names}]
    classes = [{"name": HOSTILE, "color": "#10aa20"}] if drawings > 1 else []
    write_record(folder / "examples.json", {"format": 1, **rows, "num_images": 17, "classes": classes})


def test_masks_fill_their_sections(dense_run: Path) -> None:
    page = Page(render_report(dense_run))
    assert is_whole(page.source) and HOSTILE not in page.source
    assert "pixel accuracy (%)" in page.source and "balanced (%)" not in page.source and "top-5" not in page.source
    pictures = [image["src"] for image in page.all("img")]
    assert len(pictures) == len(set(pictures)) == 4
    assert all(str(address).startswith("data:image/jpeg;base64,/9j/") for address in pictures)
    assert "88.8&nbsp;%" in page.source and "11.1&nbsp;%" in page.source and "background: #10aa20" in page.source
    assert "mIoU of an image" in page.source and "Left the labels" in page.source
    assert page.source.count("Dashed") == 1, "budgets in the chart of slimming, and no boxes"
    assert "17 validation images" in page.source
    assert "spec-confusion-40pct" in page.data and "pixels with that prediction" in page.source
    assert page.source.count(">3.00\u202fM</td>") == 1, "pixels of the first class, once for all networks"
    (note,) = [text for text in page.texts["p"] if "examples.json have not been written yet" in text]
    assert "networks/60pct/examples" in note and "networks/40pct/examples" not in note


def test_a_training_between_two_rounds_has_the_score_of_masks(dense_run: Path) -> None:
    write_rounds(dense_run, miou=38.7)
    source = render_report(dense_run).read_text(encoding="utf-8")
    assert is_whole(source) and "to 38.7&nbsp;% mIoU on held-out images" in source


def test_runs_without_examples_render_as_before(dense_run: Path) -> None:
    shutil.rmtree(dense_run / "networks" / "40pct" / "examples")
    page = Page(render_report(dense_run))
    assert page.all("img") == [] and is_whole(page.source)


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """A training of one network, with examples."""
    folder = tmp_path / "run" / "networks" / "net"
    write_examples(folder / "examples")
    write_record(folder / "evaluation.json", SEMANTIC)
    write_record(tmp_path / "run" / "settings.json", {"given": {}})
    return folder / "examples"


@pytest.mark.parametrize("fault", [None, "missing", "text", "link", "large"])
def test_a_drawing_that_is_no_small_jpeg_is_left_out_and_named(drawn: Path, fault: str | None, tmp_path: Path) -> None:
    path, secret = drawn / "worst-1-1.jpg", tmp_path / "secret.jpg"
    secret.write_bytes(b"\xff\xd8\xff" + b"secret")
    if fault is not None:
        path.unlink()
    if fault == "text":
        path.write_text("<svg onload=alert(1)>")
    if fault == "link":
        path.symlink_to(secret)
    if fault == "large":
        path.write_bytes(b"\xff\xd8\xff" + bytes(2 << 20))
    content = examples(load_run(drawn.parents[2]))
    (network,) = content["networks"]
    pictures = [drawing for _, rows in network["groups"] for row in rows for drawing in row["drawings"]]
    assert len(pictures) == 4 and pictures.count(None) == (0 if fault is None else 1)
    said = [note.text for note in content["notes"] if "The drawings of 1 images of networks/net" in note.text]
    assert len(said) == (0 if fault is None else 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["best"][0]["drawings"].append("../../../settings.json"),
        lambda record: record["best"][0].update(drawings=["../x.jpg"]),
        lambda record: record["classes"][0].update(color="red; background: url(http://example.org)"),
        lambda record: record.update(format=2),
    ],
)
def test_a_record_of_another_form_is_not_followed(drawn: Path, change: Any) -> None:
    record = read_record(drawn / "examples.json", Any)
    change(record)
    write_record(drawn / "examples.json", record)
    content = examples(load_run(drawn.parents[2]))
    assert content["networks"] == [] and "examples.json cannot be used" in content["notes"][0].text


def test_a_training_has_a_page_of_its_own(run_dir: Path) -> None:
    """Without a search: no promises, no notes on phases that it does not have."""
    for name in ("table.json", "supernet", "slim", "verification.json", "result.json", "networks/60pct"):
        path = run_dir / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for slug in ("40pct", "1.1ms"):
        folder = run_dir / "networks" / slug
        write_record(folder / "evaluation.json", DETECTION)
        write_examples(folder / "examples", drawings=1)
        write_record(folder / "latency.json", latency())
    of_task(run_dir / "data.json", {"task": "detection"})
    page = Page(render_report(run_dir))
    assert page.texts["h1"] == [
        "1.1ms reaches 44.4\u202f% box AP in 2.00\u202fms and 40pct reaches 44.4\u202f% box AP in 2.00\u202fms."
    ]
    assert page.texts["h2"] == [
        *("Training", "Evaluation", "Best and worst images", "Network", "Data", "Machine, versions, settings")
    ]
    assert page.source.count('class="note"') == 1, "only the one for browsers without JavaScript"
    assert len(page.all("img")) == 4 and "Dashed: the labelled boxes" in page.source
    assert "objects" in page.source and f">{ABSENT}</strong>" in page.source, "a class without boxes has no score"


def latency() -> dict[str, Any]:
    samples = [2.0] * 40
    runtime = {"name": "onnxruntime", "version": "1.23.2", "compute_unit": "CPU"}
    shape = {"batch_size": 1, "resolution": [64, 64], "calls_per_sample": 1, "warmup_runs": 4, "threads": 1}
    state = {"ratio": None, "disturbed_rounds": [], "quiet_median": True, "calm": True, "settled": True}
    about = {"conditions": {}, "memory_mib": None, "provenance": {"machine": {"cpu": "Example"}, "versions": {}}}
    return {"samples_ms": samples, "clock": "cpu", "runtime": runtime, **shape, **state, **about}


def test_scores_by_class_as_a_table() -> None:
    columns, rows = class_table({"model.onnx": SEMANTIC})
    assert columns == ["class", "pixels", "images", "IoU %", "accuracy %"]
    assert rows[0] == ["sky", "3,000,000", "3", "80.0", "90.0"] and rows[2] == ["never seen", "0", "0", ABSENT, ABSENT]
    columns, rows = class_table({"8ms": DETECTION, "4ms": DETECTION})
    assert columns[3:] == ["average precision %, 8ms", "average precision %, 4ms"]
    assert rows[0] == ["cat", "5", "2", "44.4", "44.4"]
    top1 = {"top1": 50.0, "per_class": [{"name": "a", "top1": 50.0, "num_images": 3}]}
    assert class_table({"8ms": top1}) == ([], []) and class_table({}) == ([], [])


def test_scores_without_labels_in_images_are_a_row_each() -> None:
    whole = {"num_images": 1000, "per_class": [], "top1": 81.26, "top5": 99.0, "balanced_accuracy": 80.0}
    new = {**whole, "calibration_error": 3.21, "negative_log_likelihood": 0.51234}
    columns, rows = evaluation_table({"8ms": new, "4ms": whole})
    assert columns == ["network", "top-1 %", "balanced accuracy %", "top-5 %", "calibration error %", "NLL", "images"]
    assert rows[0] == ["8ms", "81.3", "80.0", "99.0", "3.2", "0.512", "1,000"]
    assert rows[1] == ["4ms", "81.3", "80.0", "99.0", ABSENT, ABSENT, "1,000"]
    assert evaluation_table({"a": {"mean_ap": 50.0, "num_images": 2, "per_class": []}})[0] == [
        "network",
        "mAP %",
        "images",
    ]
    assert evaluation_table({"model.onnx": SEMANTIC}) == class_table({"model.onnx": SEMANTIC})

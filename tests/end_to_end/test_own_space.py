"""A whole run in a space from a file, on images that are not square."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import onnx
import pytest
from PIL import Image

from efficientformer.latency.tables.table import LatencyTable
from efficientformer.models.weights.load import load_network
from efficientformer.reading import read_record

from .conftest import SCALE, SMALL, answer

pytestmark = pytest.mark.slow
SPACE = """
stem_strides: [2, 1]
stages:
- {widths: [16, 24], width_step: 8, blocks: [MB4D], depth: 1}
- {widths: [16, 32], blocks: [MB4D], depth: 2}
- {widths: [16, 48], blocks: [MB4D], depth: 2, expansions: [3]}
- {widths: [32, 64], blocks: [{kind: MB3D, num_heads: 2, key_dim: 8, value_ratio: 2}, MB4D], depth: 2}
"""
SMALL_WIDE = [
    value.replace("16", "24x32") if name == "--resolution" else value for name, value in pairwise(["", *SMALL])
]
DESIGN = [
    *(*SMALL_WIDE, "--device", f"{SCALE} first", "--table.rounds", "2"),
    *("--budget", "60%", "--slim.trials", "0", "--slim.polish", "0"),
]


@pytest.fixture(scope="module")
def run_dir(photos, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("own")
    (root / "mine.yaml").write_text(SPACE)
    arguments = [*DESIGN, "--space", root / "mine.yaml"]
    (entry,), _ = answer("design", "--data", photos, "--run-dir", root / "run", *arguments)
    assert entry["kept"]
    (root / "mine.yaml").unlink()
    return root / "run"


def test_every_record_and_file_has_height_and_width(run_dir):
    table = LatencyTable.load(run_dir / "table.json")
    assert table.resolution == (24, 32) and table.space.name == "mine" and table.space.max_widths == (24, 32, 48, 64)
    folder = run_dir / "networks" / "60pct"
    record = read_record(folder / "architecture.json", Any)
    assert record["resolution"] == [24, 32] == record["preprocessing"]["resolution"]
    network = load_network(folder / "weights.safetensors")
    assert network.resolution == (24, 32)
    (image,) = onnx.load(folder / "model.onnx").graph.input
    assert [dim.dim_value for dim in image.type.tensor_type.shape.dim] == [1, 3, 24, 32]
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert "at 24 \u00d7 32&nbsp;px" in page and "resized to 24 \u00d7 32&nbsp;px" in page


def test_later_verbs_go_on_without_the_file(run_dir, program):
    for verb in ("table", "supernet", "slim", "train", "export", "verify"):
        code, _, stderr = program(verb, "--run-dir", run_dir)
        assert code == 0 and "up to date" in stderr and "is gone; the run uses its copy" in " ".join(stderr.split())


def test_its_networks_predict_and_are_compared(run_dir, program, photos, tmp_path):
    wide = tmp_path / "wide.png"
    with Image.open(photos / "val" / "across" / "0.png") as image:
        image.resize((80, 30)).save(wide)
    model = run_dir / "networks" / "60pct" / "model.onnx"
    code, stdout, stderr = program("predict", model, wide, photos / "val" / "down", "--json")
    assert code == 0 and "across" in stdout, stderr
    options = ("--resolution", "24x32", "--rounds", "40", "--out", tmp_path / "compared", "--json")
    code, stdout, stderr = program("benchmark", model, "efficientformerv2_s0", *options)
    assert code == 0, stderr
    assert [row["resolution"] for row in json.loads(stdout)["models"]] == [[24, 32], [24, 32]]
    code, _, stderr = program("benchmark", model, "--resolution", "32x24", "--out", tmp_path / "other")
    assert code != 0 and "exported for 24 x 32 px and cannot take --resolution 32x24" in " ".join(stderr.split())


def test_a_network_of_it_is_fine_tuned_at_its_own_size_by_default(run_dir, program, photos, tmp_path):
    weights = run_dir / "networks" / "60pct" / "weights.safetensors"
    few = ("--train.epochs", "1", "--train.batch-size", "16", "--train.frozen-epochs", "0", "--train.augmentation")
    arguments = ("train", "--init", weights, "--data", photos, "--run-dir", tmp_path / "tuned", *few, "standard")
    code, _, stderr = program(*arguments)
    assert code == 0 and "24x32 px, as" in " ".join(stderr.split()), stderr


@pytest.mark.parametrize("text", ["24x", "x32", "24x32x3", "axb", "8x32", "24x2000", "-24x32"])
def test_a_wrong_size_is_one_line(program, text, tmp_path):
    code, _, stderr = program("table", f"--resolution={text}", "--run-dir", tmp_path / "run")
    assert code == 2 and "resolution: must be a side in pixels, or height and width such as 96x160" in " ".join(
        stderr.split()
    )

"""Task models in comparisons: what they are made of, what is refused, and what of their output is compared."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from efficientformer.analysis.comparison.compare import check_output
from efficientformer.analysis.comparison.compared_network import _made_of_task, prepare_network
from efficientformer.analysis.comparison.network_source import TaskModel, find_sources
from efficientformer.analysis.comparison.published import dense_recipes, dense_rows, dense_sources
from efficientformer.analysis.comparison.task_models import (
    MOST_NUMBERS,
    compared_part,
    head_of,
    own_score,
    refuse_task_weights,
    task_sources,
)
from efficientformer.arch.dense import OneStage, SemanticFpn
from efficientformer.errors import UsageError
from efficientformer.latency.devices import open_runtime
from efficientformer.models.network import Network
from efficientformer.models.weights.load import save_weights
from efficientformer.records import write_record

from ..exported import write_classifier
from ..models.small import SMALL_V2

MASKS = TaskModel("semantic", SemanticFpn(16, 8), 3)
BOXES = TaskModel("detection", OneStage(16, 16, 1), 2)


@pytest.fixture(scope="module")
def masks_run(tmp_path_factory):
    """The folder of a network for masks, with its score."""
    folder = tmp_path_factory.mktemp("run") / "networks" / "8ms"
    torch.manual_seed(0)
    network = Network(replace(SMALL_V2, head=SemanticFpn(16, 8)), num_classes=2, resolution=(32, 64))
    save_weights(network, folder / "weights.safetensors", {"task": json.dumps("semantic")})
    rows = [{"name": name, "iou": 43.0, "num_images": 1, "num_pixels": 9} for name in ("a", "b")]
    write_record(folder / "evaluation.json", {"miou": 43.0, "num_images": 1, "per_class": rows})
    return folder


@pytest.mark.parametrize(("model", "size"), [(MASKS, 1), (BOXES, 100)])
def test_a_network_by_name_has_the_head_and_computes_what_its_module_does(model, size, tmp_path):
    (source,) = task_sources(find_sources(["efficientformerv2_s0"]), model)
    network = prepare_network(source, 64, tmp_path)
    assert (network.input_shape, network.weights) == ((1, 3, 64, 64), "random") and network.published_top1() is None
    opened = open_runtime("onnxruntime").open(network.path, network.input_shape).output()
    assert opened.shape == ((1, 3, 64, 64) if model is MASKS else (1, 100, 6))
    assert network.logits.shape[1] <= MOST_NUMBERS and network.logits.shape == network.compared(opened).shape
    assert check_output(network.compared(opened), network.logits).problem is None
    wrong = np.flip(opened, axis=1) * 0.9
    assert check_output(network.compared(wrong), network.logits).problem is not None
    assert network.deploy_form == ("fused" if model is MASKS else "fused, with decoding")
    (other,) = task_sources(find_sources(["efficientformerv2_s0"]), replace(model, num_classes=4))
    assert _made_of_task(other) != _made_of_task(source), "it is exported again"


def test_a_run_is_compared_with_its_own_score(masks_run, tmp_path):
    (source,) = task_sources(find_sources([str(masks_run)]), MASKS)
    network = prepare_network(source, None, tmp_path)
    assert (network.resolution, network.weights, own_score(source)) == ((32, 64), "trained", 43.0)
    assert own_score(replace(source, model=None)) is None
    (named,) = task_sources(find_sources(["efficientformer_l1"]), MASKS)
    assert own_score(named) is None


def test_networks_without_such_a_head_are_refused_in_a_line(masks_run, tmp_path):
    for name, reason in (
        ("resnet18", "is a network of timm, and has no head for images with a class for every pixel"),
    ):
        with pytest.raises(UsageError, match=reason):
            task_sources(find_sources([name]), MASKS)
    with pytest.raises(UsageError, match="is for another task, not for images with boxes around their objects"):
        task_sources(find_sources([str(masks_run)]), BOXES)
    with pytest.raises(UsageError, match=r"is a task model\. Compare it with others: --task semantic"):
        refuse_task_weights(find_sources([str(masks_run)]))
    classifier = str(write_classifier(tmp_path / "model.onnx"))
    with pytest.raises(UsageError, match="is for images with one label each, not with a class for every pixel"):
        task_sources(find_sources([classifier]), MASKS)
    refuse_task_weights(find_sources([classifier]))
    save_weights(Network(SMALL_V2, num_classes=2, resolution=32), tmp_path / "weights.safetensors")
    with pytest.raises(UsageError, match="is a classifier, not for images with a class"):
        task_sources(find_sources([str(tmp_path / "weights.safetensors")]), MASKS)


def test_parts_of_outputs():
    logits = np.arange(2 * 3 * 50 * 40, dtype=np.float32).reshape(1, 6, 50, 40)
    part = compared_part("semantic", logits)
    assert part.shape[1] <= MOST_NUMBERS and set(part.flat) <= set(logits.flat) and part[0, 1] == 3
    rows = np.zeros((1, 3, 6), np.float32)
    rows[0, :, 4] = 0.2, 0.9, 0.5
    assert compared_part("detection", rows).tolist() == [[np.float32(0.2), 0.5, np.float32(0.9)]]
    assert compared_part(None, logits) is logits


def test_heads_have_published_or_given_sizes():
    assert head_of("semantic", {}) == SemanticFpn(256, 128) and head_of("detection", {"depth": 1}) == OneStage(
        96, 96, 1
    )
    with pytest.raises(UsageError, match="multiple of 8"):
        head_of("semantic", {"width": 12})


def test_published_figures_are_those_of_table_2_with_their_sources():
    rows = {row["name"]: row for row in dense_rows()}
    assert (rows["efficientformer_l1"]["box_ap"], rows["efficientformer_l1"]["miou"]) == (37.9, 38.9)
    assert (rows["efficientformer_l3"]["mask_ap"], rows["efficientformerv2_l"]["miou"]) == (38.1, 45.2)
    assert "box_ap" not in rows["efficientformer_l7"], "nothing that was found confirms it"
    assert {row["source"] for row in rows.values()} == set(dense_sources()) and len(rows) == 10
    assert all(0 < value < 100 for row in rows.values() for value in row.values() if isinstance(value, float))
    for source in dense_sources().values():
        assert source["url"].startswith("https://arxiv.org/abs/") and source["title"] and source["kept"]
    assert "Mask R-CNN" in dense_recipes()["detection"] and "ADE20K" in dense_recipes()["semantic"]

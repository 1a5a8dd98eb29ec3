"""Metadata of an exported file that anyone may have changed."""

import json

import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from efficientformer.errors import RecordError
from efficientformer.tasks.classification.prediction import Predictor

ABOUT = {
    "classes": json.dumps(["cat", "dog", "hen"]),
    "preprocessing": json.dumps({"resolution": 8, "mean": [0.5] * 3, "std": [0.5] * 3, "crop_ratio": 1.0}),
}


def exported(path, **changes: str):
    """A file that gives the mean of each channel as one of three scores."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    mean = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)
    graph = helper.make_graph([mean], "means", [x], [y], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {**ABOUT, **changes})
    onnx.save(model, path)
    return path


def test_a_file_with_its_own_metadata_predicts(tmp_path):
    image = Image.new("RGB", (8, 8), (0, 0, 255))
    assert Predictor(exported(tmp_path / "model.onnx")).predict(image, "blue").classes[0] == "hen"


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("classes", "null", "classes must be a list, not None"),
        ("classes", '"abc"', "classes must be a list, not 'abc'"),
        ("classes", "[1, 2, 3]", r"classes\.0 must be text, not 1"),
        ("classes", '["a"]', "gives y .*not one score for each of the 1 classes"),
        ("classes", '["a", "b", "c", "d"]', "gives y .*not one score for each of the 4 classes"),
        ("classes", "[]", "classes has too few items"),
        ("classes", "[" * 9000, "inside one another"),
        ("classes", "cat", "it is not JSON"),
        ("preprocessing", "{}", "preprocessing.resolution is missing"),
        (
            "preprocessing",
            ABOUT["preprocessing"].replace("8", "1000000000"),
            "preprocessing.resolution: must be a side",
        ),
        ("preprocessing", ABOUT["preprocessing"].replace("0.5", "Infinity"), "Infinity, which is not a number"),
        ("preprocessing", ABOUT["preprocessing"].replace('"std": [0.5', '"std": [0'), r"preprocessing\.std\.0 must be"),
    ],
)
def test_metadata_of_another_shape_is_one_line_that_names_the_field(tmp_path, name, text, problem):
    path = exported(tmp_path / "model.onnx", **{name: text})
    with pytest.raises(RecordError, match=rf"model\.onnx .*{problem}") as caught:
        Predictor(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500

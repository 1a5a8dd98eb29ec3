"""Files of every kind are fed what they ask for; what cannot be fed or read is one line that says why."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.exported import BLUE, FLOAT16, RED, UINT8, write_classifier, write_image

from efficientformer.errors import DataError, RecordError
from efficientformer.tasks.classification.prediction import Predictor


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, FLOAT16, TensorProto.DOUBLE, UINT8])
@pytest.mark.parametrize(
    "shape", [(1, 3, 8, 8), ("n", 3, "h", "w"), (1, 8, 8, 3), ("n", "h", "w", 3)], ids=["fixed", "open", "last", "both"]
)
def test_a_file_is_fed_what_it_asks_for(dtype: int, shape: tuple[Any, ...], tmp_path: Path) -> None:
    predictor = Predictor(write_classifier(tmp_path / "m.onnx", dtype=dtype, shape=shape))
    for color, name in ((RED, "red"), (BLUE, "blue")):
        ((prediction,), skipped) = predictor.predict_files([write_image(tmp_path / "a.png", color)])
        assert skipped == [] and prediction.classes[0] == name
        # Scores of 1, 0 and 0 by the softmax: uint8 files get pixels from 0 to 255, others normalized ones.
        assert prediction.scores[0] == pytest.approx(100 * np.e / (np.e + 2), abs=0.1)


def test_a_half_that_is_normalized_is_normalized_like_a_float(tmp_path: Path) -> None:
    scores = []
    for dtype in (TensorProto.FLOAT, FLOAT16):
        path = write_classifier(tmp_path / "m.onnx", dtype=dtype)
        model = onnx.load_model(path)
        about = {"resolution": 8, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "crop_ratio": 1}
        model.metadata_props[1].value = json.dumps(about)
        onnx.save_model(model, path)
        ((prediction,), _) = Predictor(path).predict_files([write_image(tmp_path / "a.png", (200, 100, 50))])
        scores.append(dict(zip(prediction.classes, prediction.scores, strict=True)))
    assert scores[0] == pytest.approx(scores[1], abs=0.2)
    expected = np.exp([(200 / 255 - 0.5) / 0.2, (100 / 255 - 0.4) / 0.3, (50 / 255 - 0.3) / 0.4])
    assert [scores[0][name] for name in ("red", "green", "blue")] == pytest.approx(
        100 * expected / expected.sum(), rel=1e-3
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"more_inputs": ["mask"]}, r"images .*, mask .* one batch of images"),
        ({"shape": (1, 4, 8, 8)}, r"images \[1, 4, 8, 8\].*3 channels"),
        ({"shape": (4, 3, 8, 8)}, r"images \[4, 3, 8, 8\].*4 images at once"),
        ({"shape": (1, 3, 6, 8)}, r"images \[1, 3, 6, 8\].*8 x 8"),
        ({"dtype": TensorProto.INT8}, r"images \[1, 3, 8, 8\] of int8"),
        ({"dtype": TensorProto.BOOL}, r"images \[1, 3, 8, 8\] of bool"),
        ({"num_outputs": 5}, r"logits \[1, 5\].*3 classes"),
        ({"num_outputs": 2}, r"logits \[1, 2\].*3 classes"),
        ({"rank": 4}, r"logits \[1, 3, 1, 1\].*3 classes"),
        ({"rank": 1}, r"logits \[3\].*3 classes"),
        ({"output": "a", "more_outputs": [("b", 3)]}, r"a, b.*'logits'"),
        ({"classes": None}, "classes"),
        ({"classes": "null"}, "classes"),
        ({"classes": '"cat"'}, "classes"),
        ({"classes": "[1, 2, 3]"}, "classes"),
        ({"classes": "[]"}, "classes"),
        ({"classes": '{"a": 1}'}, "classes"),
        ({"classes": "[" * 100_000}, "classes"),
        ({"classes": ["red"] * 4}, "4 classes"),
    ],
    ids=str,
)
def test_a_file_that_cannot_classify_images_is_named_with_the_reason(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write_classifier(tmp_path / "m.onnx", **options)
    with pytest.raises(RecordError, match=message) as raised:
        Predictor(path)
    text = str(raised.value)
    assert text.startswith(str(path)) and "\n" not in text and len(text) < 500


def test_inputs_that_are_no_images_are_named(tmp_path: Path) -> None:
    text = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n", 77])
    output = helper.make_tensor_value_info("y", TensorProto.INT64, ["n", 77])
    graph = helper.make_graph([helper.make_node("Identity", ["tokens"], ["y"])], "net", [text], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {"classes": '["a"]', "preprocessing": "{}"})
    onnx.save_model(model, tmp_path / "m.onnx")
    with pytest.raises(RecordError, match=r"m\.onnx takes tokens \['n', 77\] of int64, not one batch of images"):
        Predictor(tmp_path / "m.onnx")


@pytest.mark.parametrize("about", ["{}", "null", "[]", '{"resolution": 1000000000, "mean": 1}', "[" * 100_000])
def test_preprocessing_that_is_none_is_a_stated_failure(about: str, tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx")
    model = onnx.load_model(path)
    model.metadata_props[1].value = about
    onnx.save_model(model, path)
    with pytest.raises(RecordError, match=r"m\.onnx was not exported by.*preprocessing"):
        Predictor(path)


def test_open_outputs_are_compared_with_the_classes_when_they_are_known(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx", shape=(1, 3, "h", "w"))
    model = onnx.load_model(path)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.append(helper.make_node("Flatten", ["images"], ["logits"]))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "k"
    onnx.save_model(model, path)
    with pytest.raises(RecordError, match=r"m\.onnx gives logits of shape \[1, 192\].*3 classes"):
        Predictor(path).predict_files([write_image(tmp_path / "a.png")])


def test_the_scores_are_found_among_several_outputs(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.png")
    for options in (
        {"more_outputs": [("features", 7)], "output": "y"},
        {"more_outputs": [("distilled", 3)]},
    ):
        ((prediction,), _) = Predictor(write_classifier(tmp_path / "m.onnx", **options)).predict_files([image])
        assert prediction.classes[0] == "red" and prediction.scores[0] > 50


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, FLOAT16])
def test_probabilities_are_taken_as_they_are(dtype: int, tmp_path: Path) -> None:
    predictor = Predictor(write_classifier(tmp_path / "m.onnx", softmax=True, scale=3, dtype=dtype))
    ((prediction,), _) = predictor.predict_files([write_image(tmp_path / "a.png")])
    assert predictor.gives_probabilities
    assert prediction.scores[0] == pytest.approx(100 * np.exp(3) / (np.exp(3) + 2), abs=0.2)
    plain = Predictor(write_classifier(tmp_path / "m.onnx", scale=3, dtype=dtype))
    ((logits,), _) = plain.predict_files([write_image(tmp_path / "a.png")])
    assert not plain.gives_probabilities and logits.scores == pytest.approx(prediction.scores, abs=0.2)


def test_logits_that_happen_to_sum_to_one_are_logits(tmp_path: Path) -> None:
    """(1, 0, 0) for a red image: whether they are probabilities is a matter of the graph, not of one image."""
    ((prediction,), _) = Predictor(write_classifier(tmp_path / "m.onnx")).predict_files([write_image(tmp_path / "a")])
    assert prediction.scores[0] == pytest.approx(57.6, abs=0.1)


def test_scores_that_are_not_finite_skip_the_image_and_say_so(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx", scale=float("inf"))
    image = write_image(tmp_path / "a.png")
    predictions, ((file, reason),) = Predictor(path).predict_files([image])
    assert predictions == [] and file == image and "not finite" in reason
    from efficientformer.pipeline.predict import predict

    with pytest.raises(DataError, match="not finite"):
        predict(path, [image])


def test_a_file_that_fails_on_images_is_a_stated_failure(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx", shape=(1, 3, "h", "w"))
    model = onnx.load_model(path)
    model.graph.node.insert(0, helper.make_node("Reshape", ["images", "form"], ["reshaped"]))
    model.graph.node[1].input[0] = "reshaped"
    onnx.save_model(model, path)
    with pytest.raises(RecordError, match=r"m\.onnx"):
        Predictor(path).predict_files([write_image(tmp_path / "a.png")])

"""Small ONNX files of many kinds, as users have them; each scores an image by the means of its channels."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

RED, BLUE = (255, 0, 0), (0, 0, 255)
FLOAT, FLOAT16, UINT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8


def write_classifier(
    path: Path,
    classes: Any = ("red", "green", "blue"),
    *,
    dtype: int = FLOAT,
    shape: Sequence[int | str] = (1, 3, 8, 8),
    num_outputs: int | None = None,
    softmax: bool = False,
    sigmoid: bool = False,
    task: str = "",
    more_inputs: Sequence[str] = (),
    more_outputs: Sequence[tuple[str, int]] = (),
    output: str = "logits",
    rank: int = 2,
    scale: float = 1.0,
) -> Path:
    """A file whose k-th score is `scale` times the mean of the k-th channel; its pixels are fed as 0 to 1."""
    last = shape[-1] == 3 and len(shape) == 4
    channels = shape[1] if not last and isinstance(shape[1], int) else 3
    axes, width = ([1, 2] if last else [2, 3]), 3 if num_outputs is None else num_outputs
    half = dtype == FLOAT16
    weights = np.zeros((channels, width), np.float16 if half else np.float32)
    np.fill_diagonal(weights, scale / 255 if dtype == UINT8 else scale)
    nodes, x = [], "images"
    if dtype not in (FLOAT, FLOAT16):
        nodes.append(helper.make_node("Cast", [x], ["cast"], to=FLOAT))
        x = "cast"
    nodes += [
        helper.make_node("ReduceMean", [x, "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["scores" if softmax or sigmoid or rank != 2 else output]),
    ]
    if softmax or sigmoid:
        nodes.append(helper.make_node("Softmax" if softmax else "Sigmoid", ["scores"], [output]))
    elif rank != 2:
        nodes.append(helper.make_node("Reshape", ["scores", "form"], [output]))
    kind = FLOAT16 if half else FLOAT
    outputs = [helper.make_tensor_value_info(output, kind, [shape[0], width, 1, 1][:rank] if rank > 1 else [width])]
    for name, size in more_outputs:
        constant = numpy_helper.from_array(np.zeros((1, size), np.float32), f"{name}_values")
        nodes.append(helper.make_node("Constant", [], [name], value=constant))
        outputs.append(helper.make_tensor_value_info(name, FLOAT, [1, size]))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, dtype, shape) for name in ("images", *more_inputs)],
        outputs,
        [
            numpy_helper.from_array(np.array(axes), "axes"),
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([1, width, 1, 1][:rank] if rank > 1 else [width]), "form"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    about = {"resolution": 8, "mean": [0, 0, 0], "std": [1, 1, 1], "crop_ratio": 1}
    content = classes if isinstance(classes, str) else json.dumps(classes)
    props = {"classes": content, "preprocessing": json.dumps(about), **({"task": task} if task else {})}
    helper.set_model_props(model, props)
    onnx.save_model(model, path)
    return path


def write_image(path: Path, color: tuple[int, int, int] = RED) -> Path:
    Image.new("RGB", (8, 8), color).save(path, format="PNG")
    return path

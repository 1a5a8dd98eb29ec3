"""A network ready for comparison: its exported file, its costs, and the output that runtimes must reproduce.

Exporting twenty networks takes minutes, so exported files are kept for later calls. Files given by the user are used in
place.
"""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from efficientformer import __version__
from efficientformer.analysis.comparison.build_network import (
    BuiltNetwork,
    build_network,
    eager_output,
    tagged_timm_name,
)
from efficientformer.analysis.comparison.graph_cost import graph_cost, precision_of
from efficientformer.analysis.comparison.network_source import DenseTaskName, NetworkSource
from efficientformer.analysis.comparison.published import PublishedTop1, timm_top1, zoo_top1
from efficientformer.analysis.comparison.task_models import compared_part
from efficientformer.arch.dense import dense_to_json
from efficientformer.arch.resolution import Resolution, grid_of_input, resolution_text
from efficientformer.errors import LatencyError, RecordError
from efficientformer.exporting.onnx import export_onnx
from efficientformer.exporting.onnx_graph import declared_inputs, is_channels_last, read_graph
from efficientformer.formats.comparison import KeptExport
from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime
from efficientformer.provenance import provenance
from efficientformer.reading import read_record
from efficientformer.records import digest, file_digest, write_record

MAP_DIMENSIONS = 4
MADE_BY = ("torch", "timm", "onnx")
TOLERANCE = 1e-2
"""Largest accepted difference of an output, in standard deviations of the expected output. MNN's tanh approximation of
GELU stays below; a wrong axis or a missing branch exceeds it hundreds of times."""
QUANTIZED_TOLERANCE = 0.5
"""The same for quantized files, which runtimes round in their own ways; chosen, not derived. On one processor without
VNNI, an EfficientFormer-L1 with random weights differed by 0.07 to 0.31 with OpenVINO (0.91 with a scale per channel)
and by 0.75 (1.7) with ONNX Runtime, whose 8-bit products overflow there; by 0 when quantized with `reduce_range`."""


@dataclass(frozen=True)
class ComparedNetwork:
    """A network with its exported file and its expected output.

    source: where the network comes from.
    asked_resolution: resolution that the user asked for, in pixels; None for the network's default.
    path: the ONNX file.
    input_shape: (1, channels, height, width).
    num_params, macs: costs; macs is None if the graph has operators that are not counted.
    deploy_form: how the deploy form was made, in words.
    weights: "random", "trained" or "as given".
    logits: expected output for the fixed input, or the part of it that is compared.
    logits_from: what computed `logits`: "pytorch", or "onnxruntime" for files given by the user.
    precision: of the weights: "float32", "float16", or "int8" for any quantized file.
    """

    source: NetworkSource
    asked_resolution: Resolution | None
    path: Path
    input_shape: tuple[int, int, int, int]
    num_params: int
    macs: int | None
    deploy_form: str
    weights: str
    logits: np.ndarray
    logits_from: str
    precision: str = "float32"

    @property
    def resolution(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.input_shape[1:3] if is_channels_last(self.input_shape) else self.input_shape[2:]

    @property
    def tolerance(self) -> float:
        """Largest accepted difference of an output from `logits`, in standard deviations of these."""
        return QUANTIZED_TOLERANCE if self.precision == "int8" else TOLERANCE

    @property
    def remedy(self) -> str | None:
        """What may help against a wrong output."""
        if self.precision != "int8":
            return None
        return "Sums of 8-bit products overflow on processors without VNNI: quantize with reduce_range"

    def compared(self, output: np.ndarray) -> np.ndarray:
        """What of an output is compared with `logits`."""
        return compared_part(self.source.task, output)

    def module(self) -> nn.Module:
        """Build the deployed module, for runtimes that cannot open ONNX files. Raises LatencyError if there is only a
        file."""
        if self.source.kind == "onnx":
            raise LatencyError(
                f"{self.source.target} is an ONNX file; this runtime runs PyTorch modules only. Name a network of ours "
                "or of timm, or choose another runtime."
            )
        return build_network(self.source, self.asked_resolution).module

    def published_top1(self) -> PublishedTop1 | None:
        """The accuracy of published weights of this network at this input size; None if there is none."""
        height, width = self.resolution
        if height != width or self.source.task is not None:
            return None
        match self.source.kind:
            case "zoo":
                return zoo_top1(self.source.target, height)
            case "timm":
                return timm_top1(tagged_timm_name(self.source.target), height)
        return None


def prepare_network(source: NetworkSource, resolution: Resolution | None, folder: Path) -> ComparedNetwork:
    """Export the network into `folder`, or reuse the export of an earlier call. An ONNX file is used unchanged.

    Raises LatencyError when it cannot be built, exported or run on images of `resolution`.
    """
    if source.kind == "onnx":
        return _given_file(source, resolution)
    made_of = {
        "source": [source.kind, source.target],
        "resolution": resolution,
        **_made_of_task(source),
        "file": file_digest(Path(source.target)) if source.kind == "weights" else None,
        "versions": {"efficientformer": __version__}
        | {name: version for name, version in provenance({})["versions"].items() if name in MADE_BY},
    }
    slug = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', source.name)[-60:]}-{digest(made_of)[:8]}"
    path, about_path = folder / f"{slug}.onnx", folder / f"{slug}.json"
    about = _kept(about_path, path)
    if about is None:
        about = _export(build_network(source, resolution), path, source.task)
        write_record(about_path, about)
    return ComparedNetwork(
        source=source,
        asked_resolution=resolution,
        path=path,
        input_shape=tuple(about["input_shape"]),
        num_params=about["num_params"],
        macs=about["macs"],
        deploy_form=about["deploy_form"],
        weights=about["weights"],
        logits=np.asarray(about["logits"], dtype=np.float32),
        logits_from="pytorch",
    )


def _made_of_task(source: NetworkSource) -> dict[str, Any]:
    """What a task model is made of besides the network: nothing for a classifier, whose exports stay valid."""
    model = source.model
    return {} if model is None else {"task": [model.task, dense_to_json(model.head), model.num_classes]}


def check_file(path: Path, resolution: Resolution | None) -> tuple[int, int, int, int]:
    """The input shape of an ONNX file for one image, NCHW or NHWC. Raises LatencyError for a file that cannot be
    compared."""
    inputs = declared_inputs(read_graph(path))
    if len(inputs) != 1:
        names = ", ".join(name for name, _ in inputs)
        raise LatencyError(f"{path} takes {len(inputs)} inputs ({names}); only networks with one input are compared.")
    shape = inputs[0][1]
    if len(shape) != MAP_DIMENSIONS:
        raise LatencyError(f"{path} takes an input with {len(shape)} dimensions, not images (batch, channels, h, w).")
    batch, *sizes = shape
    is_last = is_channels_last(shape)
    channels = sizes.pop(2 if is_last else 0)
    height, width = sizes
    if batch not in (None, 1):
        raise LatencyError(f"{path} takes {batch} images at once. Export it for one image, or with an open batch size.")
    if channels is None:
        raise LatencyError(f"{path} leaves its number of channels open. Export it for a fixed number.")
    asked = [None, None] if resolution is None else list(grid_of_input(resolution))
    sizes = [height or asked[0], width or asked[1]]
    if None in sizes:
        raise LatencyError(f"{path} leaves its input size open. Choose one with --resolution, such as 224.")
    if resolution is not None and sizes != asked:
        raise LatencyError(
            f"{path} was exported for {height} x {width} px and cannot take --resolution {resolution_text(resolution)}."
        )
    known = int(sizes[0] or 0), int(sizes[1] or 0)
    return (1, *known, channels) if is_last else (1, channels, *known)


def _given_file(source: NetworkSource, resolution: Resolution | None) -> ComparedNetwork:
    path = Path(source.target)
    shape = check_file(path, resolution)
    precision, runtime = precision_of(path), OnnxRuntime()
    opened = runtime.open_as_written(path, shape) if precision == "int8" else runtime.open(path, shape)
    cost = graph_cost(path, shape)
    return ComparedNetwork(
        source=source,
        asked_resolution=resolution,
        path=path,
        input_shape=shape,
        num_params=cost.num_params,
        macs=cost.macs,
        deploy_form="as given" if precision == "float32" else f"as given, {precision}",
        weights="as given",
        logits=compared_part(source.task, opened.output()),
        logits_from="onnxruntime",
        precision=precision,
    )


def _export(network: BuiltNetwork, path: Path, task: DenseTaskName | None) -> dict[str, Any]:
    logits = compared_part(task, eager_output(network).numpy())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Runtimes fold what the exporter does not.
            export_onnx(network.module, network.input_shape, path)
    except RecordError:
        raise
    except Exception as error:  # The exporter's exceptions have no common base class.
        raise LatencyError(f"It cannot be exported to ONNX: {str(error).partition(chr(10))[0]}") from error
    return {
        "input_shape": list(network.input_shape),
        "num_params": network.num_params,
        "macs": graph_cost(path, network.input_shape).macs,
        "deploy_form": network.deploy_form,
        "weights": network.weights,
        "logits": np.asarray(logits, dtype=np.float64).round(9).tolist(),
        "digest": file_digest(path),
    }


def _kept(about_path: Path, path: Path) -> dict[str, Any] | None:
    """The record of an earlier export, if the exported file has not changed since."""
    if not (about_path.exists() and path.exists()):
        return None
    try:
        about = read_record(about_path, KeptExport)
        return dict(about) if about["digest"] == file_digest(path) else None
    except RecordError:
        return None

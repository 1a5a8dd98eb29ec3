"""Phase `export`: write every trained network as ONNX in deploy form and compare it with PyTorch."""

import json

from efficientformer import __version__
from efficientformer.errors import EfficientFormerError
from efficientformer.export.onnx import export_onnx
from efficientformer.export.parity import onnx_parity
from efficientformer.models.fuse import fuse
from efficientformer.models.weights import load_network
from efficientformer.pipeline.stamps import Stamp
from efficientformer.pipeline.workspace import FoundNetwork, Workspace
from efficientformer.provenance import provenance
from efficientformer.records import digest, write_record

TOLERANCE = 1e-3
"""Largest accepted difference of a logit between PyTorch and the exported file, in float32."""


def run(workspace: Workspace) -> None:
    for network in workspace.found_networks():
        files = network.files
        workspace.require(files.weights, "train", network.budget.slug)
        stamp = Stamp(
            f"export {network.budget.slug}",
            settings=workspace.chosen("resolution"),
            inputs=workspace.digests(files.weights) | {"the metadata": digest(_metadata(workspace, network))},
        )
        workspace.run_phase(
            stamp, [files.onnx, files.export_record], lambda _, network=network: _export(workspace, network)
        )


def _export(workspace: Workspace, found: FoundNetwork) -> None:
    files, resolution = found.files, workspace.settings.resolution
    network = load_network(files.weights).eval()
    metadata = _metadata(workspace, found)
    input_shape = (1, 3, resolution, resolution)
    export_onnx(fuse(network), input_shape, files.onnx, metadata)
    difference = onnx_parity(network, files.onnx, input_shape)
    if not difference <= TOLERANCE:
        files.onnx.unlink()
        raise EfficientFormerError(
            f"The exported file of {found.budget.text} differs from PyTorch by {difference:.2g} (limit {TOLERANCE:g}). "
            "It was removed; please report the architecture in architecture.json."
        )
    write_record(
        files.export_record,
        {
            "file": str(files.onnx.relative_to(workspace.run_dir.root)),
            "bytes": files.onnx.stat().st_size,
            "max_abs_difference": difference,
            "tolerance": TOLERANCE,
            "metadata": metadata,
            "provenance": provenance(),
        },
    )


def _metadata(workspace: Workspace, found: FoundNetwork) -> dict[str, str]:
    return {
        "classes": json.dumps(list(workspace.dataset.classes), ensure_ascii=False),
        "preprocessing": json.dumps(workspace.preprocessing.to_json()),
        "architecture": json.dumps(found.architecture.to_json()),
        "budget": found.budget.text,
        "producer": f"efficientformer {__version__}",
    }

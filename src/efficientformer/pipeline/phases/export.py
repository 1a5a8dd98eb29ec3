"""Phase `export`: write every trained network as ONNX in deploy form and compare it with PyTorch."""

from efficientformer.pipeline.networks.trained import Trained, export_trained
from efficientformer.pipeline.run.workspace import Workspace


def run(workspace: Workspace) -> None:
    for network in workspace.found_networks():
        workspace.require(network.files.weights, "train", network.budget.slug)
        export_trained(workspace, Trained.of(network))

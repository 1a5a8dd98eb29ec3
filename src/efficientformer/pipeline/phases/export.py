"""Phase `export`: write every trained network as ONNX in deploy form and compare it with PyTorch."""

from efficientformer.pipeline.networks.trained import export_network
from efficientformer.pipeline.run.outputs import trained_networks
from efficientformer.pipeline.run.workspace import Workspace


def run(workspace: Workspace) -> None:
    for network in trained_networks(workspace):
        export_network(workspace, network)

"""Phase `export`: write every trained network as ONNX in deploy form and compare it with PyTorch."""

from efficientformer.pipeline.networks.trained import export_network
from efficientformer.pipeline.run.outputs import run_networks
from efficientformer.pipeline.run.plan import TRAIN
from efficientformer.pipeline.run.workspace import Workspace


def run(workspace: Workspace) -> None:
    for network in run_networks(workspace):
        TRAIN.require(workspace, network)
        export_network(workspace, network)

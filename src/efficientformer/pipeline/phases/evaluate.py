"""Phase `evaluate`: score every trained network on the validation images."""

from efficientformer.pipeline.networks.trained import evaluate_network
from efficientformer.pipeline.run.outputs import trained_networks
from efficientformer.pipeline.run.workspace import Workspace


def run(workspace: Workspace) -> None:
    for network in trained_networks(workspace):
        evaluate_network(workspace, network)

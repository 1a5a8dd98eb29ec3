"""Phase `evaluate`: score every trained network on the validation images."""

from efficientformer.pipeline.networks.trained import evaluate_network
from efficientformer.pipeline.run.outputs import run_networks
from efficientformer.pipeline.run.plan import TRAIN
from efficientformer.pipeline.run.workspace import Workspace


def run(workspace: Workspace) -> None:
    for network in run_networks(workspace):
        TRAIN.require(workspace, network)
        evaluate_network(workspace, network)

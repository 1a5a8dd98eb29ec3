"""Phase `evaluate`: score every trained network on the validation images."""

from efficientformer.pipeline.networks.trained import Trained, evaluate_trained
from efficientformer.pipeline.run.workspace import Workspace


def run(workspace: Workspace) -> None:
    for network in workspace.found_networks():
        workspace.require(network.files.weights, "train", network.budget.slug)
        evaluate_trained(workspace, Trained.of(network))

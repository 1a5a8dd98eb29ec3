"""The importance of every place of the space, which ranks the actions of a step (paper, section 4.2)."""

from efficientformer.formats.slimming import SupernetRecord
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.reading import read_record
from efficientformer.search.importance import Importances, drop_importances, path_importances
from efficientformer.search.weighing import AccuracyOracle


def place_importances(workspace: Workspace, accuracy: AccuracyOracle) -> Importances:
    """By the path probabilities of the supernet; for a supernet without paths, by what the largest network loses.

    accuracy: with the weights of the supernet as it was trained.
    """
    alphas = read_record(workspace.run_dir.supernet_record, SupernetRecord).get("alphas")
    return drop_importances(workspace.space, accuracy) if alphas is None else path_importances(alphas)

"""Phases that the first of several processes does, while the others score and train networks for it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from efficientformer.pipeline.networks.stand_alone import new_network, train_images
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.jobs import ScoreOneEach, TrainAlone, UseWeights
from efficientformer.pipeline.slimming.oracles import accuracy_oracle, with_weights
from efficientformer.search.scoring.accuracy import SupernetAccuracy
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.crew import Crew
from efficientformer.training.metrics_log import MetricsLog


def led(workspace: Workspace, work: Callable[[Workspace], None]) -> None:
    """Do `work` in the first process. It gets a workspace whose `crew` are all; what trains in that, trains alone."""
    if workspace.world.size == 1:
        work(workspace)
        return
    crew = Crew(workspace.world)
    if not workspace.world.is_first:
        crew.follow(_Helper(workspace).do)
        return
    try:
        work(replace(workspace, crew=crew))
    except Exception:
        crew.let_go()
        raise
    crew.let_go()


class _Helper:
    """A process other than the first. It needs the images of the run, and of its directory nothing."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._oracle: SupernetAccuracy | None = None

    def do(self, job: Any) -> Any:
        match job:
            case UseWeights(weights):
                if self._oracle is None:
                    self._oracle = accuracy_oracle(self._workspace, with_weights(self._workspace, weights))
                else:
                    self._oracle.use_weights(weights)
            case ScoreOneEach(asked):
                assert self._oracle is not None
                rank = self._workspace.world.rank
                return self._oracle.if_at_least(*asked[rank]) if rank < len(asked) else None
            case TrainAlone(subnet, title):
                with TemporaryDirectory() as folder:  # only the first process keeps anything
                    train_images(
                        self._workspace,
                        new_network(self._workspace, subnet),
                        title=title,
                        checkpoint=CheckpointFile(Path(folder) / "unused.pt", ""),
                        log=MetricsLog(Path(folder) / "unused.jsonl"),
                    )
        return None

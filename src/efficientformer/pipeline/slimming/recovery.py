"""Short trainings between steps of a descent, whose weights score every smaller network.

The paper does not say whether weights are trained during slimming. Here the network of every k-th step is trained
briefly from the supernet's weights, and its weights are written back into the supernet. The supernet's weights after
each such step stay on disk: a killed descent resumes with them, and every network that is compared with one of the
descent is scored with the same weights.
"""

from pathlib import Path

from efficientformer.errors import RecordError
from efficientformer.models.weights_file import read_tensors, read_weights_metadata, write_weights_file
from efficientformer.pipeline.run.fit_images import fit_images, loss_task
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.pipeline.slimming.held_out import search_splits
from efficientformer.records import digest
from efficientformer.search.candidates import State
from efficientformer.search.scoring.accuracy import absorb_network, extract_network
from efficientformer.training.checkpoint import CheckpointFile, remove_checkpoint
from efficientformer.training.metrics_log import MetricsLog


class Recovery:
    """Trains the supernet's weights between the steps of the descent with this `fingerprint`."""

    def __init__(self, workspace: Workspace, scorer: CachedScorer, fingerprint: str) -> None:
        self._workspace, self._scorer, self._fingerprint = workspace, scorer, fingerprint

    def name_at(self, step: int, target_ms: float | None, num_shared: int) -> str | None:
        """The name of the weights that score after `step` steps; None before the first training.

        target_ms: of the target whose own steps follow `num_shared` steps of all targets; None without own steps.
        """
        last = step - step % self._workspace.settings.slim.recover_every
        return _name(last, target_ms if last > num_shared else None) if last else None

    def use(self, name: str | None) -> None:
        """Score with the weights of this name; None means the supernet's. Raises RecordError if they are gone."""
        if name is None:
            self._scorer.use_supernet_weights()
            return
        path = self._workspace.run_dir.recovered(name)
        if _descent_of(path) != self._fingerprint:
            raise RecordError(
                f"{path}, the weights after a step of slimming, is missing or of another descent. Delete "
                f"{self._workspace.run_dir.slim_steps} and run 'efficientformer slim' to search again."
            )
        self._scorer.use_weights(self._known_as(name), lambda: read_tensors(path))

    def remove_others(self) -> None:
        """Remove the weights of other descents."""
        for path in self._workspace.run_dir.all_recovered():
            if _descent_of(path) != self._fingerprint:
                path.unlink()

    def after(self, step: int, target_ms: float | None, state: State) -> State:
        """The state after `step` steps, with its accuracy by the weights that score the next step."""
        settings, run_dir = self._workspace.settings.slim, self._workspace.run_dir
        training = self._workspace.settings.supernet
        if step % settings.recover_every:
            return state
        name, supernet = _name(step, target_ms), self._scorer.supernet
        network = extract_network(supernet, state.subnet)
        train, _ = search_splits(self._workspace)
        fit_images(
            self._workspace,
            network,
            loss_task(self._workspace, train, training),
            train,
            training,
            title=None,
            seed=self._workspace.settings.seed + step,
            checkpoint=CheckpointFile(run_dir.recovery_checkpoint, self._known_as(name)),
            log=MetricsLog(run_dir.recovery_metrics),
            num_steps=settings.recover_steps,
            peak_lr=settings.recover_lr,
            lr_warmup_steps=0,
        )
        absorb_network(supernet, state.subnet, network)
        write_weights_file(run_dir.recovered(name), supernet.state_dict(), {"descent": self._fingerprint})
        remove_checkpoint(run_dir.recovery_checkpoint)
        self.use(name)
        return State(state.subnet, state.latency_ms, self._scorer(state.subnet))

    def _known_as(self, name: str) -> str:
        """Distinguishes the weights from those of other descents, for the scorer and for checkpoints."""
        return digest([self._fingerprint, name])


def _name(step: int, target_ms: float | None) -> str:
    return str(step) if target_ms is None else f"{step}-{digest(target_ms)[:8]}"


def _descent_of(path: Path) -> str | None:
    """The fingerprint of the descent that wrote a file of weights; None if it cannot be read."""
    try:
        return read_weights_metadata(path).get("descent")
    except RecordError:
        return None

"""Short trainings between steps of a descent, whose weights score every smaller network.

The paper does not say whether weights are trained during slimming. Here the network of every k-th step is trained
briefly from the supernet's weights, and its weights are written back into the supernet.
"""

import copy

from efficientformer.pipeline.run.fit_images import fit_images, loss_task
from efficientformer.pipeline.slimming.held_out import search_splits
from efficientformer.pipeline.slimming.versions import Versions
from efficientformer.records import digest
from efficientformer.search.candidates import State
from efficientformer.search.scoring.accuracy import absorb_network, extract_network
from efficientformer.training.checkpoint import CheckpointFile, remove_checkpoint
from efficientformer.training.metrics_log import MetricsLog


class Recovery(Versions):
    """Trains the supernet's weights between the steps of a descent."""

    def name_at(self, step: int, target_ms: float | None, num_shared: int) -> str | None:
        last = step - step % self._workspace.settings.slim.recover_every
        return _name(last, target_ms if last > num_shared else None) if last else None

    def after(self, step: int, target_ms: float | None, state: State) -> State:
        settings, run_dir = self._workspace.settings.slim, self._workspace.run_dir
        training = self._workspace.settings.supernet
        if step % settings.recover_every:
            return state
        # A copy: the scorer, which may know the score of what is trained, would take its own for the weights before.
        name, supernet = _name(step, target_ms), copy.deepcopy(self._scorer.supernet)
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
        self.keep(name, supernet)
        remove_checkpoint(run_dir.recovery_checkpoint)
        self.use(name)
        return State(state.subnet, state.latency_ms, self._scorer(state.subnet))


def _name(step: int, target_ms: float | None) -> str:
    return str(step) if target_ms is None else f"{step}-{digest(target_ms)[:8]}"

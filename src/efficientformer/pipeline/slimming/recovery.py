"""Short trainings between steps of a descent, whose weights score every smaller network.

The paper does not say whether weights are trained during slimming. Here the network of every k-th step is trained
briefly from the supernet's weights, and its weights are written back into the supernet. The supernet's weights after
such a step stay on disk until a later step is in the journal, so a killed descent resumes with the same weights.
"""

from efficientformer.data.mixing import build_mixing
from efficientformer.models.weights_file import read_tensors, read_weights_metadata, write_weights_file
from efficientformer.pipeline.run.fit_images import fit_images
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.pipeline.slimming.held_out import search_splits
from efficientformer.records import digest
from efficientformer.search.candidates import State
from efficientformer.search.scoring.accuracy import absorb_network, extract_network
from efficientformer.tasks.classification.task import Classification
from efficientformer.training.checkpoint import CheckpointFile, remove_checkpoint
from efficientformer.training.metrics_log import MetricsLog


class Recovery:
    """Trains the supernet's weights between the steps of the descent with this `fingerprint`."""

    def __init__(self, workspace: Workspace, scorer: CachedScorer, fingerprint: str) -> None:
        self._workspace, self._scorer, self._fingerprint = workspace, scorer, fingerprint

    def resume(self, step: int) -> None:
        """Score with the weights that the descent had after `step` steps; weights of other descents are removed."""
        ours = {}
        for number, path in self._workspace.run_dir.recovered_weights().items():
            if read_weights_metadata(path).get("descent") == self._fingerprint:
                ours[number] = path
            else:
                path.unlink()
        known = [number for number in ours if number <= step]
        if known:
            self._scorer.use_weights(read_tensors(ours[max(known)]), self._name(max(known)))

    def after(self, step: int, state: State) -> State:
        """The state after `step`, with its accuracy by the weights that score the next step."""
        settings, run_dir = self._workspace.settings.slim, self._workspace.run_dir
        training = self._workspace.settings.supernet
        if step % settings.recover_every:
            return state
        supernet = self._scorer.supernet
        network = extract_network(supernet, state.subnet)
        train, _ = search_splits(self._workspace)
        fit_images(
            self._workspace,
            network,
            Classification(build_mixing(0.0, 0.0, supernet.num_classes, training.label_smoothing)),
            train,
            training,
            title=None,
            seed=self._workspace.settings.seed + step,
            checkpoint=CheckpointFile(run_dir.recovery_checkpoint, self._name(step)),
            log=MetricsLog(run_dir.recovery_metrics),
            num_steps=settings.recover_steps,
            peak_lr=settings.recover_lr,
            lr_warmup_steps=0,
        )
        absorb_network(supernet, state.subnet, network)
        weights = {name: tensor.contiguous() for name, tensor in supernet.state_dict().items()}
        write_weights_file(run_dir.recovered(step), weights, {"descent": self._fingerprint})
        for number, path in run_dir.recovered_weights().items():
            # The previous weights are needed until the journal has this step.
            if number < step - settings.recover_every:
                path.unlink()
        remove_checkpoint(run_dir.recovery_checkpoint)
        self._scorer.use_weights(weights, self._name(step))
        return State(state.subnet, state.latency_ms, self._scorer(state.subnet))

    def _name(self, step: int) -> str:
        return digest([self._fingerprint, step])

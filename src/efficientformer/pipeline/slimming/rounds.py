"""Rounds of slimming a trained network: below half of its latency much is lost at once, so it is trained half-way.

Budgets below half of the largest network's latency share a first round to that half. The network there learns from the
parent for a few epochs, channels are sorted by their importance to it, and a second descent goes on from it. Other
budgets are those of the first round alone, and of the weights that it has.
"""

import json
from collections.abc import Sequence
from typing import Any

from efficientformer.data.loading.loader import steps_per_epoch
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.models.weights.load import load_network
from efficientformer.pipeline.run.fit_images import fit_images, loss_task
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.pipeline.slimming.descent import Descent, Place, Record
from efficientformer.pipeline.slimming.held_out import search_splits
from efficientformer.pipeline.slimming.oracles import ORDERS, estimating_images, importance_batches, load_supernet
from efficientformer.pipeline.slimming.recovery import Recovery
from efficientformer.pipeline.slimming.versions import Versions
from efficientformer.records import digest, file_digest
from efficientformer.search.candidates import State
from efficientformer.search.parent import prepare_to_cut
from efficientformer.search.scoring.accuracy import absorb_network, extract_network, reestimate_batch_norm
from efficientformer.search.subnet import Subnet
from efficientformer.tasks.distillation import Distillation
from efficientformer.training.checkpoint import CheckpointFile, remove_checkpoint
from efficientformer.training.metrics_log import MetricsLog

HALF = "half"
"""Name of the version of the supernet's weights that the second round starts from."""
TAUGHT = 0.9
"""Share of the parent in the loss of the training between rounds, as recipe `transfer` has it for the last one."""


class HalfWay(Versions):
    """The weights of the second round: the supernet's after its network at half of the latency was trained."""

    def name_at(self, step: int, target_ms: float | None, num_shared: int) -> str | None:
        return HALF

    def train(self, subnet: Subnet) -> None:
        """Train the network of a subnet from the supernet's weights, with the parent as teacher, and keep the supernet
        with its weights, its batch norm and its order of channels."""
        workspace, settings = self._workspace, self._workspace.settings.parent
        run_dir, supernet = workspace.run_dir, load_supernet(workspace)
        images, (train, _) = estimating_images(workspace), search_splits(workspace)
        network = extract_network(supernet, subnet)
        reestimate_batch_norm(network, images)
        labels = loss_task(workspace, train, settings, mixup=settings.mixup, cutmix=settings.cutmix)
        parent, kind = load_network(run_dir.parent_weights), workspace.searched_task
        fit_images(
            workspace,
            network,
            Distillation(labels, parent, weight=TAUGHT, task_kind=kind),
            train,
            settings,
            title="training half-way",
            checkpoint=CheckpointFile(run_dir.recovery_checkpoint, self._known_as(HALF)),
            log=MetricsLog(run_dir.recovery_metrics),
            num_steps=settings.round_epochs * steps_per_epoch(train, settings.step_size),
            peak_lr=settings.round_lr,
            lr_warmup_steps=0,
        )
        reestimate_batch_norm(network, images)
        absorb_network(supernet, subnet, network)
        orders: list[list[int]] = []
        if workspace.settings.slim.channels == "important":
            orders = prepare_to_cut(supernet, importance_batches(workspace), subnet, kind)
        self.keep(HALF, supernet, {ORDERS: json.dumps(orders)})
        remove_checkpoint(run_dir.recovery_checkpoint)


class Rounds:
    """The descents of a run: the first from the largest network and, with rounds, a second from half of its latency."""

    def __init__(self, workspace: Workspace, table: LatencyTable, scorer: CachedScorer, fingerprint: str) -> None:
        self._workspace, self._table, self._scorer, self.fingerprint = workspace, table, scorer, fingerprint
        versions = Recovery if workspace.settings.slim.recover_every else Versions
        self.first = Descent(workspace, table, scorer, fingerprint, versions(workspace, scorer, fingerprint))
        self._half_ms = table.largest.measured_ms / 2
        self._half: tuple[Place, State] | None = None
        self._second: Descent | None = None

    def towards(self, budget_ms: float) -> Descent:
        """The descent to a network within a budget. The second one's first network is trained, unless it was before."""
        if budget_ms >= self._half_ms or not self._workspace.settings.parent.has_rounds:
            return self.first
        if self._second is None:
            self._second = self._go_half_way()
        return self._second

    def use_weights_at(self, place: Place) -> None:
        """Score with the weights that the descent had at this place."""
        self._of(place).use_weights_at(place)

    def version_at(self, place: Place) -> str | None:
        """The name of the weights that score at this place; None: the supernet's."""
        return self._of(place).recovered_at(place)

    def steps_to(self, places: Sequence[Place]) -> tuple[list[Record], dict[Place, int]]:
        """The steps that lead to these places, numbered from 1, and the number of each place: those of the first round
        as `Descent.steps_to` has them, then those of the second, which say so (`round`)."""
        own = {number: [place for place in places if place.round == number] for number in (1, 2)}
        if self._half is None or self._second is None or not own[2]:
            return self.first.steps_to(own[1])
        half, _ = self._half
        steps, numbers = self.first.steps_to([*own[1], half])
        more, of_second = self._second.steps_to(own[2])
        num_first = len(steps)

        def number(step: int) -> int:
            return num_first + step if step else numbers[half]

        for index, record in enumerate(more):
            after = {} if index and "after" not in record else {"after": number(record.get("after", 0))}
            steps.append({**record, "step": number(record["step"]), **after, "round": 2})
        return steps, numbers | {place: number(step) for place, step in of_second.items()}

    def round_record(self, numbers: dict[Place, int]) -> dict[str, Any]:
        """The training before the second round, for the trace, where a place of it is among those with `numbers`."""
        if self._half is None or self._second is None or not any(place.round == 2 for place in numbers):
            return {}
        epochs = self._workspace.settings.parent.round_epochs
        about = {"step": numbers[self._half[0]], "weights": HALF, "epochs": epochs}
        return {"round": {**about, **self._second.start_record}}

    def _of(self, place: Place) -> Descent:
        assert place.round == 1 or self._second is not None
        return self.first if place.round == 1 or self._second is None else self._second

    def _go_half_way(self) -> Descent:
        workspace, run_dir = self._workspace, self._workspace.run_dir
        with workspace.console.progress("slimming to half of the latency") as progress:
            self._half = self.first.first_within(self._half_ms, lambda _: True, progress=progress)
        _, state = self._half
        weights = HalfWay(workspace, self._scorer, self.fingerprint)
        if is_new := not weights.has(HALF):
            workspace.console.say(
                f"below half of the parent's latency slimming goes in two rounds: {state.subnet.architecture}, at "
                f"{state.latency_ms:.3f} ms, is trained for {workspace.settings.parent.round_epochs} epochs before it "
                "is slimmed further"
            )
            weights.train(state.subnet)
        second = Descent(
            workspace,
            self._table,
            self._scorer,
            digest([self.fingerprint, file_digest(run_dir.recovered(HALF))]),
            weights,
            start=state.subnet,
            journal=run_dir.second_round,
            round=2,
        )
        if is_new:
            before, after = self._half[1].accuracy, second.start_record["accuracy"]
            workspace.console.say(f"it scores {after:.1f} % {self._scorer.metric}, {before:.1f} % before")
        return second

"""Phase `supernet`: train weights and path logits of every MetaPath together (paper, section 4.2).

In a space of EfficientFormerV2's blocks there are no paths: the supernet is a slimmable network. With a parent, its
weights are those of a trained network, which is fine-tuned.

One supernet serves any number of devices: a run can take over the supernet of another run.
"""

import shutil
from pathlib import Path
from typing import Any

from efficientformer.data.dataset import ImageSplit
from efficientformer.data.loading.loader import steps_per_epoch
from efficientformer.errors import UsageError
from efficientformer.models.weights_file import write_weights_file
from efficientformer.pipeline.networks.elastic import require_elastic, train_elastically
from efficientformer.pipeline.networks.parent import fine_tuned_parent
from efficientformer.pipeline.run.fit_images import fit_images, mixing_of
from efficientformer.pipeline.run.outputs import known_table
from efficientformer.pipeline.run.plan import SUPERNET
from efficientformer.pipeline.run.stamps import read_stamp, replaced_output, stamp_changes
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.held_out import require_enough_images, require_metric, search_splits
from efficientformer.pipeline.slimming.oracles import accuracy_oracle, build_supernet, require_reachable
from efficientformer.provenance import provenance
from efficientformer.records import atomic_path, write_record
from efficientformer.run_dir import RunDir
from efficientformer.search.ancestor import Ancestor
from efficientformer.search.parent import inherit
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.slimmable_task import SlimmableTask
from efficientformer.search.supernet.supernet_task import SupernetTask
from efficientformer.tasks.task import Task
from efficientformer.training.checkpoint import CheckpointFile, remove_checkpoint
from efficientformer.training.metrics_log import MetricsLog


def run(workspace: Workspace) -> None:
    require_enough_images(workspace)
    require_metric(workspace)
    require_elastic(workspace)
    run_dir = workspace.run_dir
    table = known_table(workspace)
    if table is not None:
        require_reachable(workspace, table)
    elif SUPERNET.problem(workspace):
        workspace.console.say("no table yet: whether the budgets can be met is seen after it was measured")

    def make(fingerprint: str) -> None:
        if workspace.settings.supernet_from is None:
            _keep(workspace, *(_train if workspace.settings.parent.init is None else _inherit)(workspace, fingerprint))
        elif workspace.world.is_first:
            _take_over(workspace, RunDir(Path(workspace.settings.supernet_from)))

    SUPERNET.run(workspace, make)
    if workspace.world.is_first:
        remove_checkpoint(run_dir.supernet_checkpoint)
        remove_checkpoint(run_dir.elastic_checkpoint)


def require_source(workspace: Workspace) -> None:
    """Raise UsageError, before anything is measured, for a supernet of another run that will not be taken over."""
    source = workspace.settings.supernet_from
    if source is not None and workspace.world.is_first and SUPERNET.problem(workspace):
        _require_takeable(workspace, RunDir(Path(source)))


def _require_takeable(workspace: Workspace, source: RunDir) -> None:
    theirs = read_stamp(source.stamp(SUPERNET.name))
    if theirs is None or not (source.supernet_weights.exists() and source.supernet_record.exists()):
        raise UsageError(f"{source.root} has no trained supernet. Run 'efficientformer supernet' there first.")
    outputs = [source.supernet_weights, source.supernet_record]
    if problem := replaced_output(source, theirs, outputs):
        raise UsageError(
            f"{problem}. Restore it, or delete it and run 'efficientformer supernet --run-dir {source.root}' first."
        )
    if differing := stamp_changes(theirs, SUPERNET.stamp(workspace, kinds=frozenset({"images"})).to_json()):
        raise UsageError(
            f"The supernet of {source.root} does not fit this run: {', '.join(differing)}. Use its settings, or "
            "--supernet-from none to train one here."
        )


def _take_over(workspace: Workspace, source: RunDir) -> None:
    """Copy the supernet of another run, also with its channels sorted, and its scores of subnets."""
    _require_takeable(workspace, source)
    run_dir = workspace.run_dir
    for name in (
        "parent_weights",
        "supernet_weights",
        "supernet_record",
        "supernet_metrics",
        "elastic_metrics",
        "sorted_supernet",
        "evaluations",
    ):
        if (theirs_path := getattr(source, name)).exists():
            with atomic_path(getattr(run_dir, name)) as temporary:
                shutil.copyfile(theirs_path, temporary)
    workspace.console.say(f"taken from {source.root}")


def _inherit(workspace: Workspace, fingerprint: str) -> tuple[Ancestor, dict[str, Any]]:
    """A supernet with the weights of the parent, and a part of its record."""
    parent, about = fine_tuned_parent(workspace, fingerprint)
    supernet = build_supernet(workspace).to(workspace.training_device)
    inherit(supernet, parent)
    if workspace.settings.parent.is_elastic:
        supernet = train_elastically(workspace, supernet, fingerprint)
        about |= {"elastic_epochs": workspace.settings.parent.elastic_epochs}
    return supernet, {"parent": about}


def _train(workspace: Workspace, fingerprint: str) -> tuple[Ancestor, dict[str, Any]]:
    """The trained supernet, and a part of its record."""
    settings, run_dir = workspace.settings.supernet, workspace.run_dir
    train, _ = search_splits(workspace)
    supernet = build_supernet(workspace)
    averaged = fit_images(
        workspace,
        supernet,
        _task(workspace, train),
        train,
        settings,
        title="training",
        checkpoint=CheckpointFile(run_dir.supernet_checkpoint, fingerprint),
        log=MetricsLog(run_dir.supernet_metrics),
        ema_decay=settings.ema_decay,
    )
    assert isinstance(averaged, Ancestor)
    paths = averaged.path_probabilities()
    return averaged, {} if paths is None else {"alphas": paths}


def _keep(workspace: Workspace, supernet: Ancestor, about: dict[str, Any]) -> None:
    if not workspace.world.is_first:
        return
    run_dir, settings = workspace.run_dir, workspace.settings
    training = settings.supernet if settings.parent.init is None else settings.parent
    write_weights_file(run_dir.supernet_weights, supernet.state_dict(), {})
    score = accuracy_oracle(workspace, supernet).score(Subnet.largest(workspace.space)).primary
    train, _ = search_splits(workspace)
    write_record(
        run_dir.supernet_record,
        {
            "epochs": training.epochs,
            "num_steps": training.epochs * steps_per_epoch(train, training.step_size),
            **about,
            f"held_out_{workspace.task.words.primary}": score,
            "settings": training.model_dump(mode="json"),
            "provenance": provenance(),
        },
    )
    if settings.parent.init is None:
        text = f"the largest network scores {score:.1f} % with the supernet's weights, on held-out images"
    else:
        text = f"scored as candidates are, with batch norm estimated again, the largest network has {score:.1f} %"
    workspace.console.say(text)


def _task(workspace: Workspace, images: ImageSplit) -> Task:
    """The training loss of the space's kind of supernet; see `build_supernet`."""
    settings, kind = workspace.settings.supernet, workspace.searched_task
    mixed = {"mixup": settings.mixup, "cutmix": settings.cutmix}
    if workspace.space.is_v2:
        mix = mixing_of(workspace, images, settings, **mixed)
        return SlimmableTask(mix, networks=settings.networks, recompute=settings.recompute, kind=kind)
    mix, smoothing = kind.supernet_mixing(
        images, settings.label_smoothing, is_weighted=settings.balance == "weights", **mixed
    )
    return SupernetTask(
        temperature=settings.temperature,
        noise=settings.noise,
        sampling=settings.sampling,
        elastic_width=settings.elastic_width,
        label_smoothing=smoothing,
        mix=mix,
        alpha_lr_scale=settings.alpha_lr / settings.peak_lr,
        recompute=settings.recompute,
        kind=kind,
    )

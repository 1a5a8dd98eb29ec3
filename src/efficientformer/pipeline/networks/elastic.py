"""Elastic fine-tuning of a parent: the networks below it learn in its weights, before any is scored.

It is the training of EfficientFormerV2's supernet, the sandwich, which starts from a trained network here.
"""

from efficientformer.data.loading.loader import steps_per_epoch
from efficientformer.errors import UsageError
from efficientformer.pipeline.networks.parent import keep_parent
from efficientformer.pipeline.run.fit_images import fit_images, mixing_of
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.held_out import search_splits
from efficientformer.pipeline.slimming.oracles import importance_batches
from efficientformer.search.ancestor import Ancestor
from efficientformer.search.parent import prepare_to_cut
from efficientformer.search.scoring.accuracy import extract_network
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.slimmable_task import SlimmableTask
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.metrics_log import MetricsLog


def require_elastic(workspace: Workspace) -> None:
    """Raises UsageError for elastic epochs of a parent whose weights hold no smaller network that can be trained."""
    if workspace.settings.parent.is_elastic and not workspace.space.is_v2:
        raise UsageError(
            "--parent.elastic-epochs trains networks of EfficientFormerV2's blocks alone. Leave it out, or start from "
            "such a network."
        )


def train_elastically(workspace: Workspace, ancestor: Ancestor, fingerprint: str) -> Ancestor:
    """Train the largest network of an ancestor, which has the parent's weights, the smallest and two random ones in
    every step; the first learns from the labels, the others from it. Returns the ancestor.

    Its channels are sorted before, and the parent is kept in the run with its channels in the same order.
    """
    settings, run_dir, parent = workspace.settings.parent, workspace.run_dir, Subnet.largest(workspace.space)
    prepare_to_cut(ancestor, importance_batches(workspace), parent, workspace.searched_task)
    keep_parent(workspace, extract_network(ancestor, parent))
    train, _ = search_splits(workspace)
    mixing = mixing_of(workspace, train, settings, mixup=settings.mixup, cutmix=settings.cutmix)
    fit_images(
        workspace,
        ancestor,
        SlimmableTask(mixing, kind=workspace.searched_task),
        train,
        settings,
        title="elastic fine-tuning",
        checkpoint=CheckpointFile(run_dir.elastic_checkpoint, fingerprint),
        log=MetricsLog(run_dir.elastic_metrics),
        num_steps=settings.elastic_epochs * steps_per_epoch(train, settings.step_size),
        peak_lr=settings.elastic_lr,
        lr_warmup_steps=0,
    )
    return ancestor

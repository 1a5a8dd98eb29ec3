"""Training in a phase: with its settings, the run's images, a checkpoint, a log and a progress bar."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from torch import nn

from efficientformer.data.dataset import ImageSplit
from efficientformer.data.loader import steps_per_epoch, train_batches
from efficientformer.data.mixing import Mixing, build_mixing, class_weights
from efficientformer.data.transforms import train_transform
from efficientformer.pipeline.run.settings import OptimizerSettings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.tasks.task import Task
from efficientformer.training.best_epoch import BestEpoch
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import Batches, fit
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.recipe import Recipe


def mixing_of(images: ImageSplit, settings: OptimizerSettings, *, mixup: float = 0.0, cutmix: float = 0.0) -> Mixing:
    """The targets of a batch of these training images, by the settings' label smoothing and weights of classes."""
    weights = class_weights(images.num_images_per_class()) if settings.balance == "weights" else None
    return build_mixing(mixup, cutmix, len(images.classes), settings.label_smoothing, weights)


def fit_images(
    workspace: Workspace,
    model: nn.Module,
    task: Task,
    images: ImageSplit,
    settings: OptimizerSettings,
    *,
    title: str | None,
    checkpoint: CheckpointFile,
    log: MetricsLog,
    on_epoch: Callable[[int, nn.Module], dict[str, float]] | None = None,
    best: BestEpoch | None = None,
    seed: int | None = None,
    **recipe_options: Any,
) -> nn.Module:
    """Train on the run's training device and return the network to use. Resumes from the checkpoint, if there is one.

    settings: of the training; `recipe_options` are fields of `Recipe` that override them.
    title: of the progress bar; None for none.
    on_epoch: called with the number of finished epochs and the network; returns scores for the log.
    best: judges every epoch, see `fit`.
    seed: overrides the run's.

    Raises as `fit` does.
    """
    per_epoch = steps_per_epoch(images, settings.batch_size)
    if settings.batch_size > len(images):
        workspace.console.warn(f"a step trains all {len(images)} images, fewer than batch_size {settings.batch_size}")
    seed = workspace.settings.seed if seed is None else seed
    by_settings = {
        "num_steps": settings.epochs * per_epoch,
        "peak_lr": settings.lr,
        "weight_decay": settings.weight_decay,
        "precision": settings.precision,
        "lr_warmup_steps": round(settings.lr_warmup_epochs * per_epoch),
    }
    recipe = Recipe(steps_per_epoch=per_epoch, seed=seed, **(by_settings | recipe_options))
    checkpoint.say = workspace.console.warn
    transform = train_transform(workspace.preprocessing, settings.augmentation)

    def batches_from(step: int) -> Batches:
        return train_batches(
            images,
            transform,
            batch_size=settings.batch_size,
            seed=seed,
            start_step=step,
            workers=workspace.settings.workers,
            part_of=workspace.world.part_of,
            is_balanced=settings.balance == "sampling",
        )

    with workspace.console.progress(title) if title else nullcontext(_silent) as progress:
        return fit(
            model.to(workspace.training_device),
            task,
            batches_from,
            recipe,
            checkpoint=checkpoint,
            log=log,
            on_step=lambda step, loss: progress(step, recipe.num_steps, f"loss {loss:.3f}"),
            on_epoch=on_epoch,
            best=best,
            warn=workspace.console.warn,
            world=workspace.world,
        )


def _silent(done: int, total: int, text: str) -> None:
    pass

"""Training in a phase: with its settings, the run's images, a checkpoint, a log and a progress bar."""

import math
from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import Any

import torch
from torch import nn

from efficientformer.data.dataset import ImageSplit
from efficientformer.data.loading.loader import steps_per_epoch, train_batches, with_unlabelled
from efficientformer.data.loading.order import mix
from efficientformer.data.mixing import Mixing
from efficientformer.errors import UsageError
from efficientformer.pipeline.run.console import Pace
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.settings.training import AUTO, NetworkSettings, OptimizerSettings, ParentSettings
from efficientformer.tasks.task import Task
from efficientformer.training.best_epoch import BestEpoch
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.compiled import require_compiler
from efficientformer.training.loop import Batches, fit
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.recipe import Precision, Recipe
from efficientformer.training.termination import termination
from efficientformer.training.trackers.open import TITLES, tracker_name, tracker_opener, viewed_with
from efficientformer.training.trackers.tracker import Guarded

UNLABELLED_STREAM = 1
"""Makes the order and the augmentation of unlabelled images differ from those of the others."""
TRACKED = ("supernet", "networks", "references")
"""Folders of trainings that are tracked. Others are brief ones of a search, of which there are many."""


def mixing_of(workspace: Workspace, images: ImageSplit, settings: OptimizerSettings, **mixed: float) -> Mixing:
    """The targets of a training on these images, by the settings' label smoothing and weights of classes.

    mixed: the strengths `mixup` and `cutmix`, by default none.
    """
    is_weighted = settings.balance == "weights"
    return workspace.task.mixing(images, settings.label_smoothing, is_weighted=is_weighted, **mixed)


def require_mixing(workspace: Workspace) -> None:
    """Raises UsageError, before hours of work depend on it, for mixing or weights that a training of the run's design
    would refuse."""
    settings = workspace.settings
    for training in (settings.supernet if settings.parent.init is None else settings.parent, settings.train):
        mixing_of(workspace, workspace.dataset.train, training, mixup=training.mixup, cutmix=training.cutmix)


def loss_task(workspace: Workspace, images: ImageSplit, settings: OptimizerSettings, **mixed: float) -> Task:
    """The loss of a training on these images, against the targets of `mixing_of`."""
    return workspace.task.task(mixing_of(workspace, images, settings, **mixed))


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
    unlabelled: ImageSplit | None = None,
    unlabelled_share: float = 0.5,
    **recipe_options: Any,
) -> nn.Module:
    """Train on the run's training device and return the network to use. Resumes from the checkpoint, if there is one.

    settings: of the training; `recipe_options` are fields of `Recipe` that override them. With another `peak_lr` than
        the settings', first and last rate are the defaults of `Recipe`.
    title: of the progress bar; None for none.
    on_epoch: called with the number of finished epochs and the network; returns scores for the log.
    best: judges every epoch, see `fit`.
    seed: overrides the run's.
    unlabelled, unlabelled_share: images without labels for a task that takes them, and their share of a step's images;
        they are added to `batch_size`.

    Raises as `fit` does.
    """
    per_epoch = steps_per_epoch(images, settings.step_size)
    if settings.batch_size > len(images):
        workspace.console.warn(f"a step trains all {len(images)} images, fewer than batch_size {settings.batch_size}")
    elif settings.step_size > len(images):
        workspace.console.warn(
            f"a step of {settings.accumulate} batches has {settings.step_size} images, more than the {len(images)} "
            "there are: it trains some of them twice"
        )
    seed = workspace.settings.seed if seed is None else seed
    of_peak = {"peak_lr": settings.peak_lr, "first_lr": settings.lr_warmup_from, "final_lr": settings.lr_final}
    by_settings = {
        "num_steps": settings.epochs * per_epoch,
        **({} if "peak_lr" in recipe_options else of_peak),
        "schedule": settings.schedule,
        "accumulate": settings.accumulate,
        "weight_decay": settings.weight_decay,
        "clip_norm": settings.clip_norm or math.inf,
        "agc": settings.agc,
        "precision": _precision(workspace, settings),
        "sync_batch_norm": settings.sync_batch_norm,
        "lr_warmup_steps": round(settings.lr_warmup_epochs * per_epoch),
    }
    recipe = Recipe(steps_per_epoch=per_epoch, seed=seed, **(by_settings | recipe_options))
    if settings.lr_per and recipe.peak_lr != settings.lr:
        workspace.console.say(
            f"learning rate {recipe.peak_lr:g} for {settings.step_size} images a step: {settings.lr:g} is for "
            f"{settings.lr_per}"
        )
    checkpoint.say = workspace.console.warn
    view = workspace.task.train_view(workspace.preprocessing, settings.augmentation)

    is_balanced = settings.balance == "sampling"

    def stream(split: ImageSplit, step: int, **options: Any) -> Batches:
        options = {"batch_size": settings.batch_size, "seed": seed, "workers": workspace.settings.workers, **options}
        options["device"] = workspace.training_device
        start, part_of = step * settings.accumulate, workspace.world.part_of
        return train_batches(split, view, start_step=start, part_of=part_of, repeated=settings.repeated, **options)

    more = 0
    if unlabelled is not None:
        batch_size = min(settings.batch_size, len(images))
        more = max(1, round(batch_size * unlabelled_share / (1 - unlabelled_share)))

    def batches_from(step: int) -> Batches:
        if unlabelled is None:
            return stream(images, step, is_balanced=is_balanced)
        # Half of the processes each: both streams are decoded at the same time.
        workers = -(-workspace.settings.workers // 2)
        return with_unlabelled(
            stream(images, step, workers=workers, is_balanced=is_balanced),
            stream(unlabelled, step, batch_size=more, seed=mix(seed, UNLABELLED_STREAM), workers=workers),
        )

    pace = Pace(min(settings.step_size, settings.accumulate * len(images)) + settings.accumulate * more)

    def show(step: int, loss: float) -> None:
        progress(step, recipe.num_steps, ", ".join(filter(None, [f"loss {loss:.3f}", pace.after(step)])))

    track(workspace, log)
    with (
        termination() as is_terminated,
        closing(log),
        workspace.console.progress(title) if title else nullcontext(_silent) as progress,
    ):
        return fit(
            model.to(workspace.training_device),
            task,
            batches_from,
            recipe,
            checkpoint=checkpoint,
            log=log,
            on_step=show,
            on_epoch=on_epoch,
            best=best,
            warn=workspace.console.warn,
            world=workspace.world,
            is_terminated=is_terminated,
        )


def track(workspace: Workspace, log: MetricsLog) -> None:
    """Have the tracker of the settings show what the log of a training gets, and say once where."""
    run_dir = workspace.run_dir
    if not any(log.path.is_relative_to(run_dir.root / folder) for folder in TRACKED):
        return
    place = log.path.relative_to(run_dir.root)
    name = tracker_name(workspace.settings.track)
    if name == "none":
        return
    training = (place.parent if place.stem == "metrics" else place.with_suffix("")).as_posix()
    title = f"{run_dir.root.resolve().name}/{training}"
    opener = tracker_opener(name, run_dir.events, training, title)
    log.tracker = Guarded(TITLES[name], opener, workspace.console.warn)
    workspace.console.say_once(f"curves: {viewed_with(name, run_dir.events)}")


def _precision(workspace: Workspace, settings: OptimizerSettings) -> Precision:
    """That of the settings, or what the training device has; bf16 is said then."""
    if settings.precision != AUTO:
        return settings.precision
    device = workspace.training_device
    if device.type != "cuda" or not torch.cuda.is_bf16_supported(including_emulation=False):
        return "fp32"
    workspace.console.say("products in bf16; --train.precision fp32, or that of --supernet or --parent, for others")
    return "bf16"


def require_compiled(workspace: Workspace, training: NetworkSettings) -> None:
    """Raises UsageError, before hours of work depend on it, for networks that cannot be compiled for their training."""
    if not training.compile:
        return
    group = "parent" if isinstance(training, ParentSettings) else "train"
    if workspace.task.words.name == "instance":
        raise UsageError(f"{group}.compile is not for masks of objects: leave it out.")
    if training.sync_batch_norm:
        raise UsageError(f"{group}.compile and {group}.sync_batch_norm exclude each other: leave one out.")
    require_compiler()


def _silent(done: int, total: int, text: str) -> None:
    pass

"""Train networks alone, without the supernet, by the run's settings of `train` (paper, section 5)."""

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from efficientformer.data.dataset import ImageSplit
from efficientformer.data.loading.loader import Batch, eval_batches, steps_per_epoch
from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import UsageError
from efficientformer.formats.network import KeptScore
from efficientformer.models.create import create_model
from efficientformer.models.heads.semantic_fpn import SemanticFpnHead
from efficientformer.models.network import Network
from efficientformer.pipeline.networks.teaching import distilled, has_second_head
from efficientformer.pipeline.run.fit_images import fit_images, loss_task, require_compiled
from efficientformer.pipeline.run.inputs import image_digests, training_digests
from efficientformer.pipeline.run.stamps import chosen
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.settings.training import UNUSED_BY_TRIALS, NetworkSettings, TrainSettings
from efficientformer.pipeline.slimming.held_out import search_splits
from efficientformer.pipeline.slimming.oracles import estimating_images, load_supernet
from efficientformer.reading import read_record
from efficientformer.records import digest, write_record
from efficientformer.search.scoring.accuracy import extract_network, reestimate_batch_norm
from efficientformer.search.subnet import Subnet
from efficientformer.tasks.frozen_backbone import FrozenBackbone
from efficientformer.tasks.kind import Scores, TaskKind
from efficientformer.training.best_epoch import BestEpoch
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import seed_initial_weights
from efficientformer.training.metrics_log import MetricsLog


@dataclass(frozen=True)
class TrainedImages:
    """A trained network, and what its record says of the training."""

    network: nn.Module
    about: Mapping[str, Any]


def train_images(
    workspace: Workspace,
    network: nn.Module,
    *,
    title: str,
    checkpoint: CheckpointFile,
    log: MetricsLog,
    settings: NetworkSettings | None = None,
    splits: tuple[ImageSplit, ImageSplit] | None = None,
    version: str | None = None,
) -> TrainedImages:
    """Train a classifier on the run's images from its present weights, by a teacher where the settings name one.

    settings: of the training, by default those of `train`. Where they judge epochs (`patience`, `keep`), the images
        that score a search are held out.
    splits: the images to train on and those to score, which judge epochs as well; by default all training images and
        the validation images, whose scores are logged only.
    version: of the supernet's weights, that the network was cut from.
    """
    settings = settings or workspace.settings.train
    require_compiled(workspace, settings)
    images, others = splits or (workspace.training_images, workspace.dataset.val)
    best = None
    if settings.judges_epochs:
        images, held_out = splits or search_splits(workspace)
        best = _best_epoch(workspace, settings, held_out)
    if isinstance(network, Network):  # wherever its weights are from
        network.set_drop_path_rate(settings.drop_path_rate)
    if isinstance(settings, TrainSettings):
        _set_head_dropout(network, settings.head_dropout)
    task = loss_task(workspace, images, settings, mixup=settings.mixup, cutmix=settings.cutmix)
    taught, unlabelled = None, {}
    if isinstance(settings, TrainSettings):
        taught = distilled(workspace, task, network, version)
        unlabelled = {"unlabelled": workspace.unlabelled_training_images, "unlabelled_share": settings.unlabelled_share}
    frozen_steps = round(settings.frozen_epochs * steps_per_epoch(images, settings.step_size))

    def score(epoch: int, network: nn.Module) -> dict[str, float]:
        if epoch % settings.evaluate_every and epoch != settings.epochs:
            return {}
        return {f"val_{workspace.task.words.primary}": scores_on(workspace, network, others).primary}

    if taught is not None and isinstance(network, Network):
        seed_initial_weights(workspace.settings.seed)
        taught.attach(network.to(workspace.training_device))
    task = taught or task
    trained = fit_images(
        workspace,
        network,
        FrozenBackbone(task, frozen_steps) if frozen_steps else task,
        images,
        settings,
        title=title,
        checkpoint=checkpoint,
        log=log,
        on_epoch=score,
        best=best,
        ema_decay=settings.ema_decay,
        layer_decay=settings.layer_decay,
        is_compiled=settings.compile,
        lr_hold_steps=frozen_steps,
        **unlabelled,
    )
    if taught is not None:
        taught.detach(trained)
    num_epochs = settings.epochs if best is None else best.last_epoch
    about = {"num_steps": num_epochs * steps_per_epoch(images, settings.step_size)}
    return TrainedImages(trained, about if best is None else about | _kept_epoch(workspace, settings, best))


def _set_head_dropout(network: nn.Module, rate: float) -> None:
    """Raises UsageError for a network whose head has none."""
    head = network.head if isinstance(network, Network) else None
    if isinstance(head, SemanticFpnHead):
        head.dropout = rate
    elif rate:
        raise UsageError(
            "train.head_dropout is that of a head for masks, which the network does not have: leave it out."
        )


def _kept_epoch(workspace: Workspace, settings: NetworkSettings, best: BestEpoch) -> dict[str, int]:
    """Says and returns which epoch was the best, and which one's weights are kept."""
    kept = best.epoch if settings.keeps_best else best.last_epoch
    workspace.console.say(
        f"epoch {best.epoch} is the best of {best.last_epoch}, {best.score:.1f} % on held-out images; "
        f"the weights of epoch {kept} are kept"
    )
    return {"trained_epochs": best.last_epoch, "best_epoch": best.epoch, "kept_epoch": kept}


def _best_epoch(workspace: Workspace, settings: NetworkSettings, held_out: ImageSplit) -> BestEpoch:
    words = workspace.task.words
    name = words.primary if settings.balance == "none" else words.balanced

    def judge(network: nn.Module) -> float:
        return getattr(scores_on(workspace, network, held_out), name)

    return BestEpoch(judge, f"held_out_{name}", settings.patience, settings.keeps_best)


def validate(workspace: Workspace, network: nn.Module) -> Scores:
    """Scores on all validation images."""
    return scores_on(workspace, network, workspace.dataset.val)


def scores_on(workspace: Workspace, network: nn.Module, images: ImageSplit) -> Scores:
    """Scores on these images."""
    task = workspace.task
    batches = scored_batches(workspace, images, task, workspace.preprocessing)
    return task.evaluate(network, batches, len(workspace.dataset.classes))


def scored_batches(
    workspace: Workspace, images: ImageSplit, task: TaskKind, preprocessing: Preprocessing
) -> Generator[Batch, None, None]:
    """Batches of images and labels as the task scores them."""
    view, workers = task.score_view(preprocessing), workspace.settings.workers
    device = workspace.training_device
    return eval_batches(images, view, batch_size=task.eval_batch_size, workers=workers, device=device)


def initial_network(workspace: Workspace, subnet: Subnet, version: str | None = None) -> Network:
    """The network of a subnet with new weights or the supernet's, by the setting train.init; see `load_supernet`.

    With the supernet's, batch norm is estimated again: a moving average would keep statistics of the whole supernet for
    a long time.
    """
    if workspace.settings.train.init == "supernet":
        network = extract_network(load_supernet(workspace, version), subnet)
        reestimate_batch_norm(network, estimating_images(workspace))
        return network
    return new_network(workspace, subnet)


def new_network(workspace: Workspace, subnet: Subnet, *, has_teacher: bool = True) -> Network:
    """The network of a subnet with new weights, drawn from the seed.

    has_teacher: whether it is trained by the run's teacher, where there is one; it may need a second head.
    """
    settings = workspace.settings
    seed_initial_weights(settings.seed)
    return create_model(
        subnet.architecture,
        num_classes=len(workspace.dataset.classes),
        resolution=settings.resolution,
        drop_path_rate=settings.train.drop_path_rate,
        has_distillation_head=has_teacher and has_second_head(settings.train),
    )


def stand_alone_score(
    workspace: Workspace,
    folder: Path,
    what: Any,
    build: Callable[[], nn.Module],
    *,
    title: str,
    job: Any = None,
) -> dict[str, float]:
    """Validation score (percent) of a network after training from the weights that `build` gives it, and the seconds.

    The score is the task's primary one, by its name in records. Kept in `folder` under a digest of `what` (which
    identifies the network), the images and the settings.

    job: asks other processes to train along, where there are some.
    """

    def train(checkpoint: CheckpointFile, log: MetricsLog) -> float:
        made = []

        def train_own() -> None:
            made.append(train_images(workspace.together, build(), title=title, checkpoint=checkpoint, log=log))

        if workspace.crew is None or job is None:
            train_own()
        else:
            workspace.crew.ask(job, train_own)
        return validate(workspace, made[0].network).primary

    judged = ("supernet.held_out",) if workspace.settings.train.judges_epochs else ()
    known = chosen(workspace.settings, "resolution", "seed", "train", *judged)
    idle = workspace.settings.train.idle
    about = [what, {name: value for name, value in known.items() if name not in idle}, training_digests(workspace)]
    return _kept_score(workspace, folder, about, title, train)


def trial_score(workspace: Workspace, subnet: Subnet, *, title: str) -> dict[str, float]:
    """The same score (percent, on the images that score subnets) after a short training alone, from new weights; kept.

    Validation images stay unseen, as in all of the search. There is no moving average, since the steps are too few.
    """
    settings = workspace.settings
    train, held_out = search_splits(workspace)
    steps = steps_per_epoch(train, settings.train.step_size)
    warmup_epochs = settings.train.lr_warmup_epochs * settings.slim.trial_epochs / settings.train.epochs

    def train_briefly(checkpoint: CheckpointFile, log: MetricsLog) -> float:
        network = fit_images(
            workspace,
            new_network(workspace, subnet, has_teacher=False),
            loss_task(workspace, train, settings.train),
            train,
            settings.train,
            title=title,
            checkpoint=checkpoint,
            log=log,
            num_steps=settings.slim.trial_epochs * steps,
            lr_warmup_steps=round(warmup_epochs * steps),
        )
        return scores_on(workspace, network, held_out).primary

    known = chosen(workspace.settings, "resolution", "seed", "train", "slim.trial_epochs", "supernet.held_out")
    known = {name: value for name, value in known.items() if name not in UNUSED_BY_TRIALS}
    about = [subnet.architecture.to_json(), known, image_digests(workspace)]
    return _kept_score(workspace, workspace.run_dir.trials, about, title, train_briefly)


def _kept_score(
    workspace: Workspace, folder: Path, about: Any, title: str, train: Callable[[CheckpointFile, MetricsLog], float]
) -> dict[str, float]:
    """The score that `train` returns and its seconds, kept in a record of `folder`.

    A known network is not trained again, an interrupted training resumes, and several processes may share the folder.
    """
    fingerprint, primary = digest(about), workspace.task.words.primary
    key = fingerprint[:16]
    record, checkpoint = folder / f"{key}.json", CheckpointFile(folder / f"{key}.pt", fingerprint)
    if not record.exists():
        started = time.monotonic()
        score = train(checkpoint, MetricsLog(folder / f"{key}.metrics.jsonl"))
        write_record(record, {primary: score, "seconds": time.monotonic() - started, "title": title})
    checkpoint.remove()
    kept = read_record(record, KeptScore)
    return {primary: kept[primary], "seconds": kept["seconds"]}

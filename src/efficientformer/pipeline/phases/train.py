"""Phase `train`: train every network that slimming found (paper, section 5)."""

import time

from efficientformer.data.loader import eval_batches, steps_per_epoch, train_batches
from efficientformer.data.mixing import build_mixing
from efficientformer.data.transforms import eval_transform, train_transform
from efficientformer.models.network import Network, create_model
from efficientformer.models.weights import save_weights
from efficientformer.pipeline.oracles import load_supernet
from efficientformer.pipeline.stamps import Stamp
from efficientformer.pipeline.workspace import FoundNetwork, Workspace
from efficientformer.provenance import provenance
from efficientformer.records import digest, write_record
from efficientformer.search.accuracy import extract_network
from efficientformer.search.subnet import Subnet
from efficientformer.tasks.classification import Classification, evaluate
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.events import EventLog
from efficientformer.training.loop import INITIAL_WEIGHTS, Recipe, fit, seed_step


def run(workspace: Workspace) -> None:
    for network in workspace.found_networks():
        inputs = workspace.data_digest() | {"the architecture": digest(network.architecture.to_json())}
        if workspace.settings.train.init == "supernet":
            inputs |= workspace.digests(workspace.run_dir.supernet_weights)
            inputs |= {"the blocks of the supernet": digest([list(stage) for stage in network.origins])}
        stamp = Stamp(
            f"train {network.budget.slug}", settings=workspace.chosen("resolution", "seed", "train"), inputs=inputs
        )
        files = network.files
        workspace.run_phase(
            stamp,
            [files.weights, files.train_record, files.architecture],
            lambda fingerprint, network=network: _train(workspace, network, fingerprint),
        )
        files.checkpoint.unlink(missing_ok=True)


def _train(workspace: Workspace, found: FoundNetwork, fingerprint: str) -> None:
    settings, files = workspace.settings.train, found.files
    dataset, images = workspace.dataset, workspace.training_images
    num_classes = len(dataset.classes)
    per_epoch = steps_per_epoch(images, settings.batch_size)
    recipe = Recipe(
        num_steps=settings.epochs * per_epoch,
        steps_per_epoch=per_epoch,
        peak_lr=settings.lr,
        seed=workspace.settings.seed,
        weight_decay=settings.weight_decay,
        lr_warmup_steps=round(settings.lr_warmup_epochs * per_epoch),
        ema_decay=settings.ema_decay,
    )
    mixing = build_mixing(settings.mixup, settings.cutmix, num_classes, settings.label_smoothing)
    augment = train_transform(workspace.preprocessing, settings.augmentation)
    plain = eval_transform(workspace.preprocessing)

    def score(epoch: int, network) -> dict[str, float]:
        if epoch % settings.evaluate_every and epoch != settings.epochs:
            return {}
        batches = eval_batches(dataset.val, plain, batch_size=250, workers=workspace.settings.workers)
        return {"val_top1": evaluate(network, batches, num_classes).top1}

    started = time.monotonic()
    with workspace.console.progress(f"training {found.budget.text}") as progress:
        network = fit(
            _initial(workspace, found).to(workspace.training_device),
            Classification(mixing),
            lambda step: train_batches(
                images,
                augment,
                batch_size=settings.batch_size,
                seed=workspace.settings.seed,
                start_step=step,
                workers=workspace.settings.workers,
            ),
            recipe,
            checkpoint=CheckpointFile(files.checkpoint, fingerprint),
            log=EventLog(files.metrics),
            on_step=lambda step, loss: progress(step, recipe.num_steps, f"loss {loss:.3f}"),
            on_epoch=score,
        )
    assert isinstance(network, Network)
    save_weights(network.cpu(), files.weights)
    write_record(
        files.architecture,
        {
            "architecture": found.architecture.to_json(),
            "resolution": workspace.settings.resolution,
            "num_classes": num_classes,
            "classes": list(dataset.classes),
            "preprocessing": workspace.preprocessing.to_json(),
        },
    )
    write_record(
        files.train_record,
        {
            "epochs": settings.epochs,
            "num_steps": recipe.num_steps,
            "init": settings.init,
            "seconds": time.monotonic() - started,
            "provenance": provenance(),
        },
    )


def _initial(workspace: Workspace, found: FoundNetwork) -> Network:
    settings = workspace.settings
    if settings.train.init == "supernet":
        return extract_network(load_supernet(workspace), Subnet(found.architecture, found.origins))
    seed_step(settings.seed, INITIAL_WEIGHTS)
    return create_model(
        found.architecture,
        num_classes=len(workspace.dataset.classes),
        resolution=settings.resolution,
        drop_path_rate=settings.train.drop_path_rate,
    )

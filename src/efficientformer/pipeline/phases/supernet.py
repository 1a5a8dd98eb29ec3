"""Phase `supernet`: train weights and path logits of every MetaPath together (paper, section 4.2)."""

from safetensors.torch import save

from efficientformer.data.loader import steps_per_epoch, train_batches
from efficientformer.data.transforms import train_transform
from efficientformer.pipeline.images import search_splits
from efficientformer.pipeline.oracles import accuracy_oracle, build_supernet, require_reachable
from efficientformer.pipeline.stamps import Stamp
from efficientformer.pipeline.workspace import Workspace
from efficientformer.provenance import provenance
from efficientformer.records import atomic_path, write_record
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet_task import SupernetTask
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.events import EventLog
from efficientformer.training.loop import Recipe, fit


def run(workspace: Workspace) -> None:
    run_dir = workspace.run_dir
    require_reachable(workspace, workspace.table())
    stamp = Stamp(
        "supernet",
        settings=workspace.chosen("space", "resolution", "seed", "supernet"),
        inputs=workspace.data_digest(),
    )
    workspace.run_phase(
        stamp, [run_dir.supernet_weights, run_dir.supernet_record], lambda fingerprint: _train(workspace, fingerprint)
    )
    run_dir.supernet_checkpoint.unlink(missing_ok=True)


def _train(workspace: Workspace, fingerprint: str) -> None:
    settings, run_dir = workspace.settings.supernet, workspace.run_dir
    train, _ = search_splits(workspace)
    per_epoch = steps_per_epoch(train, settings.batch_size)
    recipe = Recipe(
        num_steps=settings.epochs * per_epoch,
        steps_per_epoch=per_epoch,
        peak_lr=settings.lr,
        seed=workspace.settings.seed,
        weight_decay=settings.weight_decay,
        lr_warmup_steps=round(settings.lr_warmup_epochs * per_epoch),
        alpha_lr_scale=settings.alpha_lr / settings.lr,
    )
    supernet = build_supernet(workspace).to(workspace.training_device)
    task = SupernetTask(
        temperature=settings.temperature,
        noise=settings.noise,
        sampling=settings.sampling,
        elastic_width=settings.elastic_width,
        label_smoothing=settings.label_smoothing,
    )
    transform = train_transform(workspace.preprocessing, settings.augmentation)
    with workspace.console.progress("training") as progress:
        fit(
            supernet,
            task,
            lambda step: train_batches(
                train,
                transform,
                batch_size=settings.batch_size,
                seed=workspace.settings.seed,
                start_step=step,
                workers=workspace.settings.workers,
            ),
            recipe,
            checkpoint=CheckpointFile(run_dir.supernet_checkpoint, fingerprint),
            log=EventLog(run_dir.supernet_metrics),
            on_step=lambda step, loss: progress(step, recipe.num_steps, f"loss {loss:.3f}"),
        )
    with atomic_path(run_dir.supernet_weights) as temporary:
        temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in supernet.state_dict().items()}))
    top1 = accuracy_oracle(workspace, supernet)(Subnet.largest(workspace.space))
    write_record(
        run_dir.supernet_record,
        {
            "epochs": settings.epochs,
            "num_steps": recipe.num_steps,
            "alphas": supernet.path_probabilities(),
            "held_out_top1": top1,
            "settings": settings.model_dump(mode="json"),
            "provenance": provenance(),
        },
    )
    workspace.console.say(f"the largest network scores {top1:.1f} % with the supernet's weights, on held-out images")

"""A trained network of a run: kept in its folder, scored on validation images, exported and compared with PyTorch."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from efficientformer import __version__
from efficientformer.arch.spec import Architecture
from efficientformer.data.loader import eval_batches, steps_per_epoch
from efficientformer.data.transforms import eval_transform
from efficientformer.errors import EfficientFormerError
from efficientformer.export.onnx import export_onnx
from efficientformer.export.parity import onnx_parity
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.network import Network
from efficientformer.models.weights.load import load_network, save_weights
from efficientformer.pipeline.networks.autotune import fastest_forms
from efficientformer.pipeline.networks.stand_alone import train_network
from efficientformer.pipeline.run.stamps import Stamp
from efficientformer.pipeline.run.workspace import FoundNetwork, Workspace
from efficientformer.provenance import provenance
from efficientformer.records import digest, read_record, write_record
from efficientformer.run_dir import NetworkFiles
from efficientformer.tasks.classification.scores import evaluate
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.metrics_log import MetricsLog

TOLERANCE = 1e-3
"""Largest accepted difference of a logit between PyTorch and the exported file, in float32."""


@dataclass(frozen=True)
class Trained:
    """A network that a run trains, by the name of its folder and for people; `about` goes into the exported file."""

    name: str
    title: str
    architecture: Architecture
    files: NetworkFiles
    about: dict[str, str]

    @classmethod
    def of(cls, found: FoundNetwork) -> "Trained":
        title = found.budget.text
        return cls(found.budget.slug, title, found.architecture, found.files, {"budget": title})


def train_trained(
    workspace: Workspace,
    trained: Trained,
    initial: Callable[[], Network],
    *,
    phase: str,
    inputs: dict[str, str],
    init: str,
) -> None:
    """Phase `phase` of one network: train what `initial` gives, which follows from `inputs`, and keep it.

    `init` is where its weights come from, for the record. Raises as `fit` does, and RecordError when the network
    cannot be written.
    """
    files = trained.files
    stamp = Stamp(
        f"{phase} {trained.name}",
        settings=workspace.chosen("resolution", "seed", "train"),
        inputs=workspace.data_digest() | inputs,
    )

    def train(fingerprint: str) -> None:
        started = time.monotonic()
        network = train_network(
            workspace,
            initial(),
            title=f"training {trained.title}",
            checkpoint=CheckpointFile(files.checkpoint, fingerprint),
            log=MetricsLog(files.metrics),
        )
        assert isinstance(network, Network)
        if workspace.world.is_first:
            _keep(workspace, trained, network, init=init, seconds=time.monotonic() - started)

    workspace.run_shared_phase(stamp, [files.weights, files.train_record, files.architecture], train)
    if workspace.world.is_first:
        files.checkpoint.unlink(missing_ok=True)


def _keep(workspace: Workspace, trained: Trained, network: Network, *, init: str, seconds: float) -> None:
    """Weights, what the network is, and how it was trained."""
    files, settings, classes = trained.files, workspace.settings.train, list(workspace.dataset.classes)
    save_weights(network.cpu(), files.weights)
    write_record(
        files.architecture,
        {
            "architecture": trained.architecture.to_json(),
            "resolution": workspace.settings.resolution,
            "num_classes": len(classes),
            "classes": classes,
            "preprocessing": workspace.preprocessing.to_json(),
        },
    )
    write_record(
        files.train_record,
        {
            "epochs": settings.epochs,
            "num_steps": settings.epochs * steps_per_epoch(workspace.training_images, settings.batch_size),
            "init": init,
            "seconds": seconds,
            "provenance": provenance(),
        },
    )


def evaluate_trained(workspace: Workspace, trained: Trained) -> None:
    """Phase `evaluate` of one network."""
    files = trained.files
    stamp = Stamp(
        f"evaluate {trained.name}",
        settings=workspace.chosen("resolution"),
        inputs=workspace.data_digest() | workspace.digests(files.weights),
    )
    workspace.run_phase(stamp, [files.evaluation], lambda _: _evaluate(workspace, files))
    record = read_record(files.evaluation)
    workspace.console.say(f"top-1 {record['top1']:.1f} %, top-5 {record['top5']:.1f} %")


def export_trained(workspace: Workspace, trained: Trained) -> None:
    """Phase `export` of one network. Raises EfficientFormerError when the file differs from PyTorch."""
    files = trained.files
    stamp = Stamp(
        f"export {trained.name}",
        settings=workspace.chosen("resolution", "export"),
        inputs=workspace.digests(files.weights)
        | {"the metadata": digest(_metadata(workspace, trained))}
        | (workspace.device_digest() if workspace.settings.export.autotune else {}),
    )
    workspace.run_phase(stamp, [files.onnx, files.export_record], lambda _: _export(workspace, trained))


def _evaluate(workspace: Workspace, files: NetworkFiles) -> None:
    dataset = workspace.dataset
    network = load_network(files.weights).to(workspace.training_device)
    transform = eval_transform(workspace.preprocessing)
    batches = eval_batches(dataset.val, transform, batch_size=250, workers=workspace.settings.workers)
    scored = 0
    with workspace.console.progress("evaluating") as progress:

        def count(num_images: int) -> None:
            nonlocal scored
            scored += num_images
            progress(scored, len(dataset.val), "")

        scores = evaluate(network, batches, len(dataset.classes), on_batch=count)
    write_record(files.evaluation, {**scores.to_record(list(dataset.classes)), "provenance": provenance()})


def _export(workspace: Workspace, trained: Trained) -> None:
    files, resolution = trained.files, workspace.settings.resolution
    network = load_network(files.weights).eval()
    metadata = _metadata(workspace, trained)
    input_shape = (1, 3, resolution, resolution)
    forms, tuning = fastest_forms(workspace, network)
    dynamic_batch = workspace.settings.export.dynamic_batch
    export_onnx(fuse(network, forms), input_shape, files.onnx, metadata, dynamic_batch=dynamic_batch)
    difference = onnx_parity(network, files.onnx, input_shape)
    if not difference <= TOLERANCE:
        files.onnx.unlink()
        raise EfficientFormerError(
            f"The exported file of {trained.title} differs from PyTorch by {difference:.2g} (limit {TOLERANCE:g}). "
            "It was removed; please report the architecture in architecture.json."
        )
    write_record(
        files.export_record,
        {
            "file": str(files.onnx.relative_to(workspace.run_dir.root)),
            "bytes": files.onnx.stat().st_size,
            "max_abs_difference": difference,
            "tolerance": TOLERANCE,
            **tuning,
            "metadata": metadata,
            "provenance": provenance(),
        },
    )


def _metadata(workspace: Workspace, trained: Trained) -> dict[str, str]:
    return {
        "classes": json.dumps(list(workspace.dataset.classes), ensure_ascii=False),
        "preprocessing": json.dumps(workspace.preprocessing.to_json()),
        "architecture": json.dumps(trained.architecture.to_json()),
        **trained.about,
        "producer": f"efficientformer {__version__}",
    }

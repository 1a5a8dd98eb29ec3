"""Train a network of a run and keep it in its folder, score it on validation images, export it."""

import json
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from efficientformer.analysis.comparison.graph_cost import graph_cost
from efficientformer.errors import EfficientFormerError, UsageError
from efficientformer.exporting.onnx import export_onnx
from efficientformer.exporting.parity import onnx_parity
from efficientformer.formats.network import EVALUATION_MIB, Evaluation
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.network import Network
from efficientformer.models.weights.load import save_weights
from efficientformer.pipeline.networks.autotune import fastest_forms
from efficientformer.pipeline.networks.examples import write_examples
from efficientformer.pipeline.networks.published import deployed_timm, load_classifier, save_timm
from efficientformer.pipeline.networks.scoring import scoring_kind, validation_scores
from efficientformer.pipeline.networks.stand_alone import scored_batches, train_images
from efficientformer.pipeline.networks.teaching import teacher_record
from efficientformer.pipeline.run.inputs import export_metadata, weights_metadata
from efficientformer.pipeline.run.phase import Phase
from efficientformer.pipeline.run.plan import EVALUATE, EXPORT
from efficientformer.pipeline.run.run_network import RunNetwork
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.provenance import provenance
from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.run_dir import NetworkFiles
from efficientformer.tasks.words import TaskWords
from efficientformer.training.checkpoint import CheckpointFile, remove_checkpoint
from efficientformer.training.metrics_log import MetricsLog

TOLERANCE = 1e-3
"""Largest accepted difference of a logit between PyTorch and the exported file, in float32."""


def train_network(
    workspace: Workspace,
    phase: Phase,
    network: RunNetwork,
    initial: Callable[[], nn.Module],
    *,
    init: str,
    about: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Train the network that `initial` builds and keep it in its folder, in phase `train` or `fine-tune`.

    init: the origin of its initial weights, for the record, which `about` adds to.

    Raises as `fit` does, and RecordError if the network cannot be written.
    """
    files = network.files

    def train(fingerprint: str) -> None:
        started = time.monotonic()
        trained = train_images(
            workspace,
            initial(),
            title=f"training {network.title}",
            checkpoint=CheckpointFile(files.checkpoint, fingerprint),
            log=MetricsLog(files.metrics),
            version=network.version,
        )
        if workspace.world.is_first:
            seconds = time.monotonic() - started
            _keep(workspace, network, trained.network, {**trained.about, "init": init, **about, "seconds": seconds})

    phase.run(workspace, train, network)
    if workspace.world.is_first:
        remove_checkpoint(files.checkpoint)


def _keep(workspace: Workspace, network: RunNetwork, trained: nn.Module, about: Mapping[str, Any]) -> None:
    """Write the weights, the architecture and the record of the training, which `about` is a part of."""
    files, settings, classes = network.files, workspace.settings.train, list(workspace.dataset.classes)
    described, preprocessing = weights_metadata(workspace), workspace.preprocessing.to_json()
    if isinstance(trained, Network):
        trained.preprocessing = preprocessing
        save_weights(trained.cpu(), files.weights, described)
        record = {
            "architecture": trained.architecture.to_json(),
            "resolution": workspace.settings.resolution,
            "num_classes": len(classes),
            "classes": classes,
            **workspace.task.words.metadata,
            "preprocessing": preprocessing,
        }
        write_record(files.architecture, record)
    else:
        described = {**described, "preprocessing": json.dumps(preprocessing)}
        save_timm(trained.cpu(), network.title, files.weights, workspace.settings.resolution, described)
    write_record(
        files.train_record,
        {
            "epochs": settings.epochs,
            **about,
            **teacher_record(workspace),
            "provenance": provenance(),
        },
    )


def require_crop(workspace: Workspace) -> None:
    """Raises UsageError, before hours of work depend on it, for a crop of images that are scored as a whole."""
    assert workspace.scored_preprocessing


def evaluate_network(workspace: Workspace, network: RunNetwork) -> None:
    """Phase `evaluate` of one network."""
    EVALUATE.run(workspace, lambda _: _evaluate(workspace, network.files), network)
    record = read_record(network.files.evaluation, Evaluation, most_mib=EVALUATION_MIB)
    workspace.console.say(_summary(record, workspace.task.words))


def _summary(record: Mapping[str, Any], words: TaskWords) -> str:
    """The scores of an evaluation; the balanced one where classes have unequal numbers of images."""
    is_even = len({row["num_images"] for row in record["per_class"]}) == 1
    titles = {words.primary: words.title, **words.further}
    shown = [name for name in titles if name in record and not (is_even and name == words.balanced != words.primary)]
    return ", ".join(f"{titles[name]} {record[name]:.1f} %" for name in shown)


def export_network(workspace: Workspace, network: RunNetwork) -> None:
    """Phase `export` of one network. Raises EfficientFormerError if the file's output differs from PyTorch's."""
    EXPORT.run(workspace, lambda _: _export(workspace, network), network)


def _evaluate(workspace: Workspace, files: NetworkFiles) -> None:
    dataset = workspace.dataset
    network = load_classifier(files.weights).to(workspace.training_device)
    task = scoring_kind(workspace.task, workspace.settings, workspace.preprocessing.grid)
    batches = scored_batches(workspace, dataset.val, task, workspace.scored_preprocessing)
    scores = validation_scores(task, network, batches, dataset, workspace.console)
    if task.words.image_title:
        write_examples(workspace, files.examples, network, task, scores)
    write_record(files.evaluation, {**scores.to_record(list(dataset.classes)), "provenance": provenance()})


def _export(workspace: Workspace, network: RunNetwork) -> None:
    files, input_shape = network.files, workspace.input_shape
    trained = load_classifier(files.weights).eval()
    metadata = export_metadata(workspace, network)
    if isinstance(trained, Network):
        forms, tuning = fastest_forms(workspace, trained)
        deployed = fuse(trained, forms)
    else:
        deployed, tuning = deployed_timm(trained, input_shape)
    dynamic_batch, grid = workspace.settings.export.dynamic_batch, workspace.preprocessing.grid
    task = workspace.task
    compared, (complete, output) = task.comparable(deployed), task.exported(deployed, grid)
    if dynamic_batch and complete is not compared:
        raise UsageError("A file that gives boxes takes one image at a time: leave out --export.dynamic-batch.")
    export_onnx(compared, input_shape, files.onnx, metadata, dynamic_batch=dynamic_batch)
    if network.architecture is None:
        tuning = {**tuning, "macs": graph_cost(files.onnx, input_shape).macs}
    difference = onnx_parity(task.comparable(trained), files.onnx, input_shape)
    if not difference <= TOLERANCE:
        files.onnx.unlink()
        raise EfficientFormerError(
            f"The exported file of {network.title} differs from PyTorch by {difference:.2g} (limit {TOLERANCE:g}). "
            "It was removed; please report the architecture in architecture.json."
        )
    if complete is not compared:  # it also decides between outputs that rounding can exchange
        export_onnx(complete, input_shape, files.onnx, metadata, output_name=output)
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

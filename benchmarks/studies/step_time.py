"""Our training step and our loader against timm's, interleaved in one process: ratios of rounds with their interval.

    python benchmarks/studies/step_time.py step --network efficientformer_l1 --clip norm
    python benchmarks/studies/step_time.py compile --network efficientformerv2_s0
    python benchmarks/studies/step_time.py loader --data photos --workers 2

`step`: `fit` against `timm.task.ClassificationTask` in the step of timm's training script, which its package does not
have: forward pass, loss, backward pass, clipping, AdamW, schedule and `ModelEmaV3`, of the same network on the same
batches. `compile`: `fit` with train.compile against without. `loader`: our batches of files with augmentation strong
against `timm.data.create_loader` with the same RandAugment, crops, mirroring and erasing.

Every round times some steps or batches of one, then of the other; the first round is a warm-up. The clock is the
wall, or the CPU time of this process, for one thread and no workers.
"""

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import timm.data
import torch
from scipy.stats import bootstrap
from timm.data import create_dataset, create_loader
from timm.data.auto_augment import RandAugment
from timm.optim import create_optimizer_v2
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.task import ClassificationTask
from timm.utils import AverageMeter, dispatch_clip_grad
from torch import nn

from efficientformer.arch.zoo import ZOO
from efficientformer.data.dataset import ImageSplit
from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.loading.loader import Batch, View, train_batches
from efficientformer.data.mixing import build_mixing
from efficientformer.data.transforms import PhotoTransform, Preprocessing, Transform, train_transform
from efficientformer.models.create import create_model
from efficientformer.provenance import provenance
from efficientformer.tasks.classification.task import Classification
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import fit
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.recipe import Recipe
from naming import keep

LR, DECAY, EMA, SMOOTHING, CLASSES = 1e-4, 0.025, 0.9999, 0.1, 1000
AHEAD = 2
"""Batches that a worker makes before they are asked for, the default of PyTorch's loader."""
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
CLIPS = {"none": 0.0, "norm": 1.0, "agc": 0.01}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("step", "compile", "loader"))
    parser.add_argument("--network", choices=tuple(ZOO), default="efficientformer_l1")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2, help="of a round, or its batches")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall", help="cpu where others use the machine")
    parser.add_argument("--clip", choices=tuple(CLIPS), default="norm")
    parser.add_argument("--data", type=Path, help="folder of classes, of the loader")
    parser.add_argument("--workers", type=int, default=2, help="of the loader")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    timed = loaders(arguments) if arguments.what == "loader" else steps(arguments)
    ratios = [ours / theirs for ours, theirs in timed[1:]]
    interval = bootstrap((ratios,), np.median, rng=np.random.default_rng(0), method="percentile").confidence_interval
    record = {
        "what": f"{arguments.what}: seconds of a round, ours over the other",
        "settings": {name: value for name, value in vars(arguments).items() if name not in ("what", "data")},
        "ratio": statistics.median(ratios),
        "interval": [float(interval.low), float(interval.high)],
        "seconds": [statistics.median(column) for column in zip(*timed[1:], strict=True)],
        "rounds": [[round(seconds, 4) for seconds in pair] for pair in timed],
        "provenance": provenance(),
    }
    if arguments.data is not None:
        record["provenance"]["command"] = record["provenance"]["command"].replace(
            str(arguments.data), arguments.data.name
        )
    sys.stdout.write(f"{record['ratio']:.3f} [{interval.low:.3f}, {interval.high:.3f}] of {record['seconds']}\n")
    if arguments.what == "loader":
        keep("step_time", "loader", record, f"workers{arguments.workers}", arguments.clock)
    else:
        keep("step_time", arguments.network, record, arguments.what, arguments.clip, arguments.clock)


def steps(arguments: argparse.Namespace) -> list[tuple[float, float]]:
    """Seconds of rounds of `fit` and of the other, which takes its steps in a hook of `fit`."""
    clock = CLOCKS[arguments.clock]
    torch.manual_seed(0)
    network = create_model(arguments.network, num_classes=CLASSES, resolution=arguments.resolution)
    shape = arguments.batch_size, 3, arguments.resolution, arguments.resolution
    batches = [
        Batch(torch.randn(shape).to(memory_format=torch.channels_last), torch.randint(CLASSES, shape[:1]))
        for _ in range(4)
    ]
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "step":
            other = timm_rounds(copy.deepcopy(network), batches, arguments)
        else:
            other = plain_rounds(copy.deepcopy(network), batches, arguments, Path(folder) / "plain")
        timed, started = list[tuple[float, float]](), clock()

        def on_step(step: int, loss: float) -> None:
            nonlocal started
            if step % arguments.steps == 0:
                seconds = clock() - started
                timed.append((seconds, next(other)))
                sys.stdout.write(f"round {len(timed)}: {timed[-1][0]:.3f} {timed[-1][1]:.3f}\n")
                sys.stdout.flush()
                started = clock()

        num_steps = (1 + arguments.rounds) * arguments.steps
        is_compiled = arguments.what == "compile"
        train(network, batches, num_steps, arguments, Path(folder) / "ours", on_step, is_compiled=is_compiled)
    return timed


def train(
    network: nn.Module,
    batches: list[Batch],
    num_steps: int,
    arguments: argparse.Namespace,
    folder: Path,
    on_step: Callable[[int, float], None],
    *,
    is_compiled: bool = False,
) -> None:
    """Our training, whose checkpoint is written once, after the last step."""
    clip = CLIPS[arguments.clip]
    recipe = Recipe(
        num_steps=num_steps,
        steps_per_epoch=num_steps,
        peak_lr=LR,
        seed=0,
        weight_decay=DECAY,
        clip_norm=clip if arguments.clip == "norm" else float("inf"),
        agc=clip if arguments.clip == "agc" else 0.0,
        ema_decay=EMA,
        is_compiled=is_compiled,
    )
    fit(
        network,
        Classification(build_mixing(0.0, 0.0, CLASSES, SMOOTHING)),
        lambda step: (batches[number % len(batches)] for number in range(step, num_steps)),
        recipe,
        checkpoint=CheckpointFile(folder / "checkpoint.pt", "step time", interval_s=1e9),
        log=MetricsLog(folder / "metrics.jsonl"),
        on_step=on_step,
    )


def plain_rounds(
    network: nn.Module, batches: list[Batch], arguments: argparse.Namespace, folder: Path
) -> Iterator[float]:
    """Seconds of rounds of our steps without compilation: a training for each, whose first step is not timed."""
    for number in range(1 + arguments.rounds):
        times: list[float] = []

        def hook(step: int, loss: float, times: list[float] = times) -> None:
            times.append(CLOCKS[arguments.clock]())

        train(network, batches, 1 + arguments.steps, arguments, folder / str(number), hook)
        yield times[-1] - times[0]


def timm_rounds(network: nn.Module, batches: list[Batch], arguments: argparse.Namespace) -> Iterator[float]:
    """Seconds of rounds of steps as in timm's training script, on one device, without automatic mixed precision."""
    task = ClassificationTask(
        network.to(memory_format=torch.channels_last), criterion_kwargs={"smoothing": SMOOTHING}, verbose=False
    )
    task.setup_ema(decay=EMA, use_warmup=True)
    optimizer = create_optimizer_v2(network, opt="adamw", lr=LR, weight_decay=DECAY)
    total = (1 + arguments.rounds) * arguments.steps
    scheduler = CosineLRScheduler(optimizer, t_initial=total, lr_min=LR / 100, t_in_epochs=False)
    losses, updates = AverageMeter(), 0
    task.train()
    optimizer.zero_grad()
    for _ in range(1 + arguments.rounds):
        started = CLOCKS[arguments.clock]()
        for _ in range(arguments.steps):
            images, labels = batches[updates % len(batches)]
            loss = task(images.contiguous(memory_format=torch.channels_last), labels)["loss"]
            loss.backward()
            if arguments.clip != "none":
                clipped = task.get_clip_parameters(exclude_head=arguments.clip == "agc")
                dispatch_clip_grad(clipped, value=CLIPS[arguments.clip], mode=arguments.clip)
            optimizer.step()
            losses.update(loss.item(), len(images))
            updates += 1
            optimizer.zero_grad()
            task.update_ema(step=updates)
            scheduler.step_update(num_updates=updates, metric=losses.avg)
        yield CLOCKS[arguments.clock]() - started


def loaders(arguments: argparse.Namespace) -> list[tuple[float, float]]:
    """Seconds from the first batch of a round to the last: by then workers are at their pace."""
    preprocessing = Preprocessing(arguments.resolution)
    split = load_image_folder(arguments.data).train
    transform = train_transform(preprocessing, "strong")
    theirs = timm_loader(arguments, transform)
    needed = 1 + arguments.steps + AHEAD * arguments.workers
    if len(theirs) < needed:  # at the end of an epoch its workers stop one by one, and leave the others the cores
        sys.exit(f"--data holds {len(theirs)} batches; a round needs {needed}: more photos or fewer --steps")
    timed = []
    for number in range(1 + arguments.rounds):
        ours = our_batches(split, transform, number * (1 + arguments.steps), arguments)
        timed.append((seconds_of(ours, arguments), seconds_of(iter(theirs), arguments)))
        sys.stdout.write(f"round {number}: {timed[-1][0]:.3f} {timed[-1][1]:.3f}\n")
        sys.stdout.flush()
    return timed


def our_batches(
    split: ImageSplit, transform: Transform, start_step: int, arguments: argparse.Namespace
) -> Iterator[Batch]:
    options = {"batch_size": arguments.batch_size, "workers": arguments.workers}
    return train_batches(split, View(transform), seed=0, start_step=start_step, **options)


def timm_loader(arguments: argparse.Namespace, transform: Transform) -> Any:
    """timm's loader of the same folder, with our RandAugment: timm's own fails with newer versions of Pillow."""
    timm.data.set_img_extensions((".png", ".jpg", ".jpeg", ".webp", ".bmp"))
    loader = create_loader(
        create_dataset("", str(arguments.data / "train")),
        input_size=(3, arguments.resolution, arguments.resolution),
        batch_size=arguments.batch_size,
        is_training=True,
        re_prob=0.25,
        re_mode="pixel",
        auto_augment="rand-m9-mstd0.5-inc1",
        interpolation="bicubic",
        num_workers=arguments.workers,
        device=torch.device("cpu"),
        pin_memory=False,
        persistent_workers=False,
    )
    assert isinstance(transform, PhotoTransform)
    parts = loader.dataset.transform.transforms
    parts[:] = [transform.color if isinstance(part, RandAugment) else part for part in parts]
    return loader


def seconds_of(batches: Iterator[Any], arguments: argparse.Namespace) -> float:
    next(batches)
    started = CLOCKS[arguments.clock]()
    for _ in islice(batches, arguments.steps):
        pass
    return CLOCKS[arguments.clock]() - started


if __name__ == "__main__":
    main()

"""What a training and a search of ImageNet's size do besides training steps: seconds of each piece of work.

    python benchmarks/studies/throughput.py --data photos --work runs/throughput
    python benchmarks/studies/throughput.py --data photos --work runs/throughput --device cuda --threads 8

Times, in L7's space at 224 px: scoring a candidate (batch norm estimated again, the smallest and the largest network),
writing and reading a checkpoint of the supernet, listing made folders of small files, at first and later, and decoding
and augmenting the photographs of `--data` in one process. Training steps are search_cost.py's. `docs/scaling.md` is
computed from both records.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from efficientformer.arch.spaces import SPACES
from efficientformer.data.large.load import list_splits
from efficientformer.data.layout import find_layout
from efficientformer.data.limits import MAX_PIXELS
from efficientformer.data.loading.loader import Batch, train_batches
from efficientformer.data.transforms import Preprocessing
from efficientformer.pipeline.image_sets.given import given_images
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.provenance import provenance
from efficientformer.search.scoring.accuracy import SupernetAccuracy
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.tasks.classification.kind import ONE_LABEL
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.optimizer import build_optimizer
from naming import keep

SPACE, RESOLUTION, NUM_CLASSES = SPACES["imagenet"], 224, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="photographs in one folder for each class")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--device", default="cpu", help="that scores candidates")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--files", type=int, default=100_000, help="made files of the listing")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    supernet = Supernet(SPACE, num_classes=NUM_CLASSES, resolution=RESOLUTION).to(torch.device(arguments.device))
    record = {
        "what": "seconds of scoring, checkpoints, listing and decoding, in L7's space at 224 px",
        "setting": {
            "device": arguments.device,
            "threads": arguments.threads,
            "batch_size": arguments.batch_size,
            "data": Path(arguments.data).name,
        },
        "scoring": scoring(supernet, arguments),
        "checkpoint": checkpoint(supernet, arguments),
        "decoding": decoding(arguments),
        "listing": listing(arguments),
        "provenance": provenance(),
    }
    keep("throughput", f"{SPACE.name}_{RESOLUTION}px", record, "" if arguments.device == "cpu" else arguments.device)
    sys.stdout.write(f"{record['scoring']}\n{record['checkpoint']}\n{record['decoding']}\n{record['listing']}\n")


def timed(work: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> float:
    started = clock()
    work()
    return clock() - started


def scoring(supernet: Supernet, arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds an image, of those that estimate batch norm and of those that score alike; on a CPU of one core."""
    clock = time.process_time if arguments.device == "cpu" else time.monotonic
    images = torch.randn(arguments.batch_size, 3, RESOLUTION, RESOLUTION).contiguous(memory_format=torch.channels_last)
    batch = Batch(images, torch.randint(NUM_CLASSES, (arguments.batch_size,)))
    found = {}
    for name, subnet in {"largest": Subnet.largest(SPACE), "smallest": Subnet.smallest(SPACE)}.items():
        # A new oracle each time: one knows the features of what it scored before.
        oracles = [SupernetAccuracy(supernet, [batch.images], [batch], ONE_LABEL) for _ in range(1 + arguments.repeats)]
        seconds = [timed(lambda oracle=oracle, subnet=subnet: oracle.score(subnet), clock) for oracle in oracles]
        found[name] = statistics.median(seconds[1:]) / (2 * arguments.batch_size)
    return found


def checkpoint(supernet: Supernet, arguments: argparse.Namespace) -> dict[str, float]:
    """Of the largest supernet with the states of its optimizer; a moving average adds a third."""
    optimizer = build_optimizer(supernet, lr=1e-4, weight_decay=0.025)
    for parameter in supernet.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = {"model": supernet.state_dict(), "optimizer": optimizer.state_dict()}
    file = CheckpointFile(arguments.work / "checkpoint.pt", "throughput")
    writing = [timed(lambda: file.save(state)) for _ in range(arguments.repeats)]
    reading = [timed(file.load) for _ in range(arguments.repeats)]
    size = file.path.stat().st_size
    file.remove()
    return {
        "mib": size / 2**20,
        "write_seconds": statistics.median(writing),
        "read_seconds": statistics.median(reading),
    }


def decoding(arguments: argparse.Namespace) -> dict[str, float]:
    """CPU seconds of an image in a process without workers, with the augmentation of the recipe."""
    images = given_images(arguments.data, MAX_PIXELS, RunConsole()).splits[0]
    preprocessing = Preprocessing(RESOLUTION, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    view = ONE_LABEL.train_view(preprocessing, "strong")
    batches = train_batches(images, view, batch_size=32, seed=0, start_step=0, workers=0)
    next(batches)
    seconds = [timed(lambda: next(batches), time.process_time) / 32 for _ in range(2 * arguments.repeats)]
    sizes = [Image.open(file).size for file in sorted(Path(arguments.data).rglob("*.jp*g"))[::20]]
    pixels = statistics.mean(width * height for width, height in sizes)
    return {"cpu_seconds_per_image": statistics.median(seconds), "mean_megapixels": pixels / 1e6}


def listing(arguments: argparse.Namespace) -> dict[str, float]:
    """CPU seconds a million files, in a thousand folders of them; listed anew, and known from before."""
    folder = arguments.work / "files"
    if not folder.exists():
        picture = arguments.work / "picture.png"
        Image.new("RGB", (2, 2)).save(picture)
        content = picture.read_bytes()
        for number in range(1000):
            (folder / f"{number:04}").mkdir(parents=True)
            for index in range(arguments.files // 1000):
                (folder / f"{number:04}" / f"{index:06}.png").write_bytes(content)
    kept, millions = arguments.work / "listing.npz", arguments.files / 1e6
    kept.unlink(missing_ok=True)
    first, again = (
        timed(lambda: list_splits(folder, find_layout(folder), kept), time.process_time) / millions for _ in range(2)
    )
    return {"files": arguments.files, "first_cpu_seconds": first, "again_cpu_seconds": again}


if __name__ == "__main__":
    main()

"""What the search costs at the size of EfficientFormer-L7: seconds and memory of its phases, on images.

    python benchmarks/studies/search_cost.py --data imagenette160 --work runs/cost --resolution 64
    python benchmarks/studies/search_cost.py --data imagenette160 --work runs/cost224 --resolution 224 --batch-size 8 \\
        --images 16 --steps 2 --epochs 0 --second-runtime none
    python benchmarks/studies/search_cost.py --resolution 224 --batch-size 128 --steps 20 --training-device cuda \\
        --precision bf16 --steps-only

Times training steps of the supernet (one path, all paths, all paths recomputed) and of the largest network, each in a
process of its own for its memory, and in turns for their ratio. Then times the verbs: a table, a supernet (`--epochs 0`
leaves it untrained: same cost, meaningless accuracies), slimming to three budgets, and the same for a second runtime
with the first one's supernet. A phase that `--work` already has is not repeated; its row has `was_done`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from efficientformer.arch.spaces import SPACES
from efficientformer.data.loading.loader import Batch
from efficientformer.models.create import create_model
from efficientformer.pipeline.run.open_run import RunRequest, open_run
from efficientformer.pipeline.run.plan import SUPERNET
from efficientformer.pipeline.slimming.oracles import build_supernet
from efficientformer.provenance import provenance
from efficientformer.records import write_record
from efficientformer.run_dir import RunDir
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.search.supernet.supernet_task import SupernetTask
from efficientformer.tasks.classification.kind import ONE_LABEL
from efficientformer.tasks.classification.task import Classification
from efficientformer.training.optimizer import build_optimizer
from naming import keep

SPACE = SPACES["imagenet"]
NUM_CLASSES = 1000
BUDGETS = ("60%", "30%", "15%")
STEP_OPTIONS = ("resolution", "batch_size", "steps", "training_threads", "training_device", "precision")
SEARCH_OPTIONS = ("epochs", "judge", "images", "bn_images", "stride", "eager", "second_runtime")
KINDS = ("largest", "single", "soft", "soft recomputed")
PROGRAM = [sys.executable, "-m", "efficientformer"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6, help="timed training steps of each kind")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of the supernet; 0 leaves it untrained")
    parser.add_argument("--judge", choices=("likelihood", "top1"), default="likelihood")
    parser.add_argument("--images", type=int, default=100, help="images that score a candidate")
    parser.add_argument("--bn-images", type=int, default=0, help="images for batch norm; 0: the scoring images")
    parser.add_argument("--stride", type=float, default=0.2, help="smallest saving of a step, a fraction of latency")
    parser.add_argument("--eager", action="store_true", help="score every candidate in every step, without --slim.lazy")
    parser.add_argument("--training-threads", type=int, default=2)
    parser.add_argument("--training-device", default="cpu", help="device of the training steps, such as cuda")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the training steps")
    parser.add_argument("--steps-only", action="store_true", help="leave out the verbs")
    parser.add_argument("--second-runtime", default="openvino", help="none leaves it out")
    parser.add_argument("--train-steps-of", nargs="+", choices=KINDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.training_threads)
    if arguments.train_steps_of:
        sys.stdout.write(json.dumps(train_steps(arguments.train_steps_of, arguments)) + "\n")
        return
    record = {
        "what": "seconds and peak memory of training steps and of the search's phases, L7 at the top of the space",
        "setting": {name: getattr(arguments, name) for name in (*STEP_OPTIONS, *SEARCH_OPTIONS)}
        | {"data": arguments.data and Path(arguments.data).name, "budgets": BUDGETS},
        "training": {kind: in_a_process([kind], arguments)[kind] for kind in KINDS},
        "side by side": in_a_process(["largest", "single"], arguments),
        "phases": {} if arguments.steps_only else phases(arguments),
        "provenance": provenance(),
    }
    turns = record["side by side"]
    record["single over largest"] = turns["single"]["seconds_per_image"] / turns["largest"]["seconds_per_image"]
    condition = "" if arguments.training_device == "cpu" else arguments.training_device
    keep("search_cost", f"{SPACE.name}_{arguments.resolution}px", record, condition)
    sys.stdout.write(json.dumps({k: v for k, v in record.items() if k != "provenance"}, indent=1) + "\n")


def in_a_process(kinds: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Training steps in a process that does nothing else, so that its peak memory is theirs."""
    flags = [word for name in STEP_OPTIONS for word in (f"--{name.replace('_', '-')}", str(getattr(arguments, name)))]
    command = [sys.executable, __file__, *flags, "--train-steps-of", *kinds]
    done, usage = finished(command, stdout=subprocess.PIPE)
    return {kind: {**row, **usage} for kind, row in json.loads(done).items()}


def finished(command: list[str], **options: Any) -> tuple[bytes, dict[str, float]]:
    """Output of a command, its seconds (CPU seconds are of all threads) and its peak memory."""
    started = time.monotonic()
    process = subprocess.Popen(command, **options)
    printed = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    seconds = round(time.monotonic() - started, 1)
    cpu_seconds = round(usage.ru_utime + usage.ru_stime, 1)
    peak_memory_gib = round(usage.ru_maxrss / 2**20, 2)
    return printed, {"process_seconds": seconds, "cpu_seconds": cpu_seconds, "peak_memory_gib": peak_memory_gib}


def train_steps(kinds: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Steps of each kind in turns. The first of each kind allocates memory and is not timed."""
    steppers = {kind: stepper(kind, arguments) for kind in kinds}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(arguments.steps + 1):
        for kind, step in steppers.items():
            started = time.monotonic()
            step()
            if number:
                seconds[kind].append((time.monotonic() - started) / arguments.batch_size)
    peak = {}
    if arguments.training_device == "cuda":
        peak = {"peak_device_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)}
    return {
        kind: {**peak, "seconds_per_image": statistics.median(values), "all_seconds_per_image": values}
        for kind, values in seconds.items()
    }


def stepper(kind: str, arguments: argparse.Namespace):
    torch.manual_seed(0)
    shape = {"num_classes": NUM_CLASSES, "resolution": arguments.resolution}
    model: nn.Module
    if kind == "largest":
        model = create_model(SPACE.largest(), **shape)
        task: Any = Classification(lambda x, y: (x, nn.functional.one_hot(y, NUM_CLASSES).float()))
    else:
        model = Supernet(SPACE, **shape)
        task = SupernetTask(
            kind=ONE_LABEL,
            temperature=(1.0, 0.2),
            noise="uniform",
            sampling="single" if kind == "single" else "soft",
            elastic_width="random",
            label_smoothing=0.1,
            recompute=kind.endswith("recomputed"),
        )
    device = torch.device(arguments.training_device)
    model.to(device, memory_format=torch.channels_last).train()
    optimizer = build_optimizer(model, lr=1e-4, weight_decay=0.025)
    images = torch.randn(arguments.batch_size, 3, arguments.resolution, arguments.resolution)
    images = images.to(device, memory_format=torch.channels_last)
    labels = torch.randint(NUM_CLASSES, (arguments.batch_size,)).to(device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=arguments.precision == "bf16"):
            loss = task.loss(model, Batch(images, labels), 0.5)
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def phases(arguments: argparse.Namespace) -> dict[str, Any]:
    """The verbs one after the other, as commands: each has a process of its own, and so a peak memory of its own."""
    first, second = arguments.work / "first", arguments.work / "second"
    options = ["--data", arguments.data, "--preset", "imagenet", "--resolution", str(arguments.resolution)]
    options += ["--training-threads", str(arguments.training_threads), "--workers", "1"]
    options += ["--supernet.sampling", "single", "--supernet.batch-size", str(arguments.batch_size)]
    options += ["--slim.images", str(arguments.images), "--slim.bn-images", str(arguments.bn_images)]
    options += ["--slim.metric", arguments.judge, "--slim.stride", str(arguments.stride)]
    options += [] if arguments.eager else ["--slim.lazy"]
    options += ["--supernet.epochs", str(max(1, arguments.epochs)), "--supernet.lr-warmup-epochs", "0"]
    # A search takes as long with an inaccurate table, such as one of a noisy machine.
    options += ["--table.max-error", "100"]
    options += [word for budget in BUDGETS for word in ("--budget", budget)]
    rows = {"table": verb("table", first, options)}
    if arguments.epochs:
        rows["supernet"] = verb("supernet", first, options)
    else:
        leave_untrained(first)
    rows["slim"] = verb("slim", first, options)
    if arguments.second_runtime == "none":
        return rows
    further = ["--supernet-from", str(first), "--runtime", arguments.second_runtime]
    for name in ("table", "supernet", "slim"):
        rows[f"second {name}"] = verb(name, second, further)
    return rows


def verb(name: str, run_dir: Path, options: list[str]) -> dict[str, Any]:
    was_done = (run_dir / "stamps" / f"{name}.json").exists()
    started = time.time()
    usage = finished([*PROGRAM, name, "--run-dir", str(run_dir), *options], stdout=subprocess.DEVNULL)[1]
    if name == "slim" and not was_done:
        # After the last scored step the networks found are measured with the largest one, which takes no search.
        usage["until_last_step_seconds"] = round(RunDir(run_dir).slim_steps.stat().st_mtime - started, 1)
        usage["num_judged"] = len(RunDir(run_dir).evaluations.read_text().splitlines()) - 1
    return {**usage, "was_done": was_done}


def leave_untrained(root: Path) -> None:
    """Write a supernet with its initial weights as the phase `supernet` writes a trained one."""
    with open_run(RunRequest(run_dir=root)) as workspace:
        supernet = build_supernet(workspace)
        run_dir = workspace.run_dir
        run_dir.supernet_weights.parent.mkdir(parents=True, exist_ok=True)
        save_file(supernet.state_dict(), run_dir.supernet_weights)
        write_record(run_dir.supernet_record, {"alphas": supernet.path_probabilities(), "epochs": 0})
        write_record(run_dir.stamp("supernet"), SUPERNET.stamp(workspace).to_json())


if __name__ == "__main__":
    main()

"""Two processes that train together, started by torchrun, against one that sees whole batches."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from efficientformer.errors import UsageError
from efficientformer.models.weights_file import content_digest
from efficientformer.training.world import World, join_world

SCRIPT = '''
import atexit, json, os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from torch import nn
from efficientformer.data.loading.loader import Batch
from efficientformer.errors import EfficientFormerError
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.loop import _seed_step, fit
from efficientformer.training.recipe import Recipe
from efficientformer.arch.dense import MaskRcnn
from efficientformer.arch.zoo import build_architecture
from efficientformer.models.network import Network
from efficientformer.tasks.instance.task import InstanceSegmentation
from efficientformer.tasks.task import Task
from efficientformer.training.world import join_world

torch.set_num_threads(1)
root = Path(sys.argv[1])
# Registered before the world is joined, so it runs after the world was left.
atexit.register(lambda: (root / f"left-{world.rank}").write_text(str(not torch.distributed.is_initialized())))
world = join_world()
recipe = Recipe(num_steps=12, steps_per_epoch=6, peak_lr=0.01, seed=3, ema_decay=0.9)
drawn = []

def branch(model):
    """One of three branches, by chance, so that the others have no gradient."""
    drawn.append(int(torch.randint(3, ())))
    return model[drawn[-1]]

class Sampled(Task):
    def loss(self, model, batch, progress):
        return nn.functional.cross_entropy(branch(model)(batch.images.flatten(1)), batch.labels)

class Marked(Task):
    """One of three branches, by the labels."""
    def loss(self, model, batch, progress):
        chosen = model[int(batch.labels[0]) % 3]
        return nn.functional.cross_entropy(chosen(batch.images.flatten(1)), batch.labels)

class Steady(Task):
    def loss(self, model, batch, progress):
        return nn.functional.cross_entropy(model[0](batch.images.flatten(1)), batch.labels)

class ByTwo(Task):
    """A task as two processes do it, in one."""
    def __init__(self, task):
        self.task = task
    def loss(self, model, batch, progress):
        losses = []
        for rank in range(2):
            _seed_step(recipe.seed, round(progress * recipe.num_steps), rank)
            part = Batch(batch.images[rank::2], batch.labels[rank::2])
            losses.append(self.task.loss(model, part, progress))
        return sum(losses) / 2

def sampled_by_two():
    return ByTwo(Sampled())

def marked_by_two():
    return ByTwo(Marked())

def instances_by_two():
    return ByTwo(InstanceSegmentation())

class KilledOnce(Steady):
    """The second process is killed at the seventh step, the first time it comes there."""
    def loss(self, model, batch, progress):
        if world.rank == 1 and round(progress * recipe.num_steps) == 6 and not (root / "killed").exists():
            (root / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(model, batch, progress)

class Spoil(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()
    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("nan")

class SpoiledInOne(Steady):
    """The gradient of the second process is not finite at steps 3 to 5."""
    def loss(self, model, batch, progress):
        loss = super().loss(model, batch, progress)
        is_spoiled = world.rank == 1 and round(progress * recipe.num_steps) in (3, 4, 5)
        return Spoil.apply(loss) if is_spoiled else loss

def batches_from(step, world=world, side=4, classes=4):
    while True:
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 3, side, side, generator=generator)
        y = torch.randint(classes, (8,), generator=generator)
        mine = world.part_of(list(range(8)))
        yield Batch(x[mine], y[mine])
        step += 1

def objects_from(step):
    """Four images, of which one of the second process has no object: its part has no mask to learn from then."""
    while True:
        generator, masks = torch.Generator().manual_seed(step), torch.zeros(1, 32, 32, dtype=torch.uint8)
        masks[:, 4:28, 8:24] = 1
        one = {"boxes": torch.tensor([[8.0, 4, 24, 28]]), "labels": torch.tensor([1]), "masks": masks}
        none = {name: tensor[:0] for name, tensor in one.items()}
        images, labels = torch.randn(4, 3, 32, 32, generator=generator), [one, none, one, [one, none][step % 2]]
        mine = world.part_of(list(range(4)))
        yield Batch(images[mine], [labels[index] for index in mine])
        step += 1

def mask_rcnn():
    architecture = build_architecture((8, 8, 8, 8), (1, 1, 1, 1), 0)
    return Network(replace(architecture, head=MaskRcnn(8, 8, 8, 8)), num_classes=2, resolution=32)

def train(folder, task, weights_seed=(0, 0), own_folders=False, instances=False, accumulate=1):
    torch.manual_seed(weights_seed[world.rank])
    model = mask_rcnn() if instances else nn.ModuleList([nn.Linear(48, 4) for _ in range(3)])
    own = folder / str(world.rank) if own_folders else folder
    own.mkdir(exist_ok=True)
    checkpoint = CheckpointFile(own / "checkpoint.pt", "run", interval_s=0.0)
    drawn.clear()
    scored, said, states, failure = [], [], [], None
    try:
        network = fit(
            model, task(), objects_from if instances else batches_from,
            replace(recipe, accumulate=accumulate), checkpoint=checkpoint,
            log=MetricsLog(folder / "metrics.jsonl"),
            on_epoch=lambda epoch, network: scored.append(epoch) or {},
            on_step=lambda step, loss: states.append([tensor.sum().item() for tensor in model.state_dict().values()]),
            warn=said.append, world=world,
        )
    except EfficientFormerError as error:
        failure = str(error)
    else:
        assert bool(scored) == world.is_first
        torch.save(network.state_dict(), folder / f"weights-{world.rank}.pt")
    seen = {"drawn": drawn, "said": said, "states": states, "failure": failure}
    (folder / f"seen-{world.rank}.json").write_text(json.dumps(seen))

for name, options in json.loads(sys.argv[2]).items():
    (root / name).mkdir(exist_ok=True)
    train(root / name, **{**options, "task": globals()[options["task"]]})
'''
NETWORKS = """
from efficientformer.arch.spaces import SPACES
from efficientformer.models.network import Network
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.slimmable import SlimmableNetwork
from efficientformer.search.supernet.slimmable_task import SlimmableTask
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.search.supernet.supernet_task import SupernetTask
from efficientformer.tasks.classification.kind import ONE_LABEL
from efficientformer.tasks.classification.task import Classification
from efficientformer.training.world import World

def plain(images, labels):
    return images, nn.functional.one_hot(labels, 3).float()

CASES = {
    "network": (
        lambda: Network(Subnet.smallest(SPACES["v2_quick"]).architecture, resolution=32, num_classes=3),
        Classification(plain),
    ),
    "supernet": (
        lambda: Supernet(SPACES["quick"], resolution=32, num_classes=3),
        SupernetTask(kind=ONE_LABEL, temperature=(1.0, 0.2), noise="uniform", sampling="single", elastic_width="random",
                     label_smoothing=0.1, recompute=True),
    ),
    "supernet of V2": (
        lambda: SlimmableNetwork(SPACES["v2_quick"], resolution=32, num_classes=3),
        SlimmableTask(plain, kind=ONE_LABEL, networks=2),
    ),
}

def trained_network(name, world, title):
    build, task = CASES[name]
    torch.manual_seed(world.rank)  # the first one's weights count
    recipe = Recipe(num_steps=20, steps_per_epoch=20, peak_lr=1e-4, seed=1, sync_batch_norm=True)
    losses, model = [], build()
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_mean += world.rank  # so do its statistics
    model = fit(model, task, lambda step: batches_from(step, world, side=32, classes=3), recipe,
                checkpoint=CheckpointFile(root / f"{title}.pt", "run", interval_s=1e9),
                log=MetricsLog(root / f"{title}.jsonl"), on_step=lambda step, loss: losses.append(loss), world=world)
    return losses, model.state_dict()

for name in CASES:
    torch.save(trained_network(name, world, name), root / f"{name}-{world.rank}")
    if world.is_first:
        torch.save(trained_network(name, World(), f"{name} alone"), root / f"{name}-alone")
"""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


ALONE = {
    "steady": {"task": "Steady"},
    "sampled": {"task": "Sampled"},
    "sampled by two": {"task": "sampled_by_two"},
    "accumulated": {"task": "marked_by_two", "accumulate": 3},
    "instances": {"task": "instances_by_two", "instances": True},
}
TOGETHER = {
    "steady": {"task": "Steady", "weights_seed": [0, 1]},
    "sampled": {"task": "Sampled"},
    "spoiled": {"task": "SpoiledInOne"},
    "none in one": {"task": "Steady", "own_folders": True},
    "another step": {"task": "Steady", "own_folders": True},
    "other weights": {"task": "Steady", "own_folders": True},
    "equal": {"task": "Steady", "own_folders": True},
    "accumulated": {"task": "Marked", "accumulate": 3},
    "instances": {"task": "InstanceSegmentation", "weights_seed": [0, 1], "instances": True},
}


def start(root: Path, trainings: dict, launcher: tuple[str, ...] = (), script: str = SCRIPT) -> None:
    root.mkdir(exist_ok=True)
    (root / "script.py").write_text(script)
    command = [sys.executable, *launcher, str(root / "script.py"), str(root), json.dumps(trainings)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("alone")
    start(root, ALONE)
    return root


@pytest.fixture(scope="module")
def together(alone, tmp_path_factory) -> Path:
    """Two processes; where each has a checkpoint of its own, as on two machines, it is of the process alone."""
    root = tmp_path_factory.mktemp("together")
    for name in ("none in one", "another step", "other weights", "equal"):
        state = torch.load(alone / "steady" / "checkpoint.pt", weights_only=True)
        state["state"]["counters"]["step"] = 6
        for rank in range(2):
            (root / name / str(rank)).mkdir(parents=True)
        save_checkpoint(state, root / name / "0")
        if name == "another step":
            state["state"]["counters"]["step"] = 5
        elif name == "other weights":
            state["state"]["model"]["1.bias"] += 1
        if name != "none in one":
            save_checkpoint(state, root / name / "1")
    start(root, TOGETHER, TORCHRUN, SCRIPT + NETWORKS)
    return root


def save_checkpoint(content: dict, folder: Path) -> None:
    torch.save({**content, "sha256": content_digest(content["state"])}, folder / "checkpoint.pt")


def weights(root: Path, name: str) -> list[dict[str, torch.Tensor]]:
    """By rank."""
    return [torch.load(path, weights_only=True) for path in sorted((root / name).glob("weights-*.pt"))]


def seen(root: Path, name: str) -> list[dict]:
    """By rank."""
    return [json.loads(path.read_text()) for path in sorted((root / name).glob("seen-*.json"))]


def test_processes_leave_their_world_before_they_end(together):
    assert [(together / f"left-{rank}").read_text() for rank in range(2)] == ["True", "True"]


def test_two_processes_end_with_the_weights_of_one(alone, together):
    ((one,), (first, second)) = weights(alone, "steady"), weights(together, "steady")
    for name, tensor in one.items():
        assert torch.equal(first[name], second[name]), "processes do not drift apart, whatever they start from"
        assert torch.allclose(tensor, first[name], atol=1e-6)
    logs = [(root / "steady" / "metrics.jsonl").read_text().count("\n") for root in (alone, together)]
    assert logs[0] == logs[1] > 0, "one process writes"


@pytest.mark.slow
def test_processes_of_which_one_is_killed_start_again_and_end_with_the_weights_of_one(alone, tmp_path):
    root = tmp_path / "restarted"
    start(root, {"steady": {"task": "KilledOnce", "weights_seed": [0, 1]}}, (*TORCHRUN, "--max-restarts", "1"))
    ((one,), (first, second)) = weights(alone, "steady"), weights(root, "steady")
    assert (root / "killed").exists() and len(seen(root, "steady")[0]["states"]) < 12, "from a checkpoint"
    for name, tensor in one.items():
        assert torch.equal(first[name], second[name])
        assert torch.allclose(tensor, first[name], atol=1e-6)


def test_each_process_draws_its_own_paths_and_their_gradients_are_averaged(alone, together):
    one, other = (process["drawn"] for process in seen(together, "sampled"))
    assert one != other and len(set(one)) == len(set(other)) == 3
    assert [one, other] == [seen(alone, "sampled by two")[0]["drawn"][rank::2] for rank in range(2)]
    ((by_one,), (first, second)) = weights(alone, "sampled by two"), weights(together, "sampled")
    for name, tensor in by_one.items():
        assert torch.equal(first[name], second[name])
        assert torch.allclose(tensor, first[name], atol=1e-6), name


def test_accumulated_gradients_are_averaged_once_whatever_their_batches_leave_out(alone, together):
    ((one,), (first, second)) = weights(alone, "accumulated"), weights(together, "accumulated")
    for name, tensor in one.items():
        assert torch.equal(first[name], second[name])
        assert torch.allclose(tensor, first[name], atol=1e-6), name


def test_mask_rcnn_is_trained_as_by_one_process(alone, together):
    ((one,), (first, second)) = weights(alone, "instances"), weights(together, "instances")
    states = seen(together, "instances")[0]["states"]
    assert len(states) == 12 and states[0] != states[-1]
    for name, tensor in one.items():
        assert torch.equal(first[name], second[name])
        assert torch.allclose(tensor, first[name], atol=1e-5), name


def test_the_first_process_draws_what_one_alone_draws(alone, together):
    assert seen(together, "sampled")[0]["drawn"] == seen(alone, "sampled")[0]["drawn"]


def test_a_gradient_that_is_not_finite_in_one_process_is_taken_in_none(together):
    first, second = weights(together, "spoiled")
    for process in seen(together, "spoiled"):
        states = process["states"]
        assert states[2] == states[3] == states[4] == states[5] != states[6]
        assert len(process["said"]) == 2 and "3 of 12 steps" in process["said"][1]
    assert all(torch.equal(tensor, second[name]) and tensor.isfinite().all() for name, tensor in first.items())
    state = torch.load(together / "spoiled" / "checkpoint.pt", weights_only=True)["state"]
    assert state["counters"]["skipped_steps"] == 3


@pytest.mark.parametrize("case", ["equal", "none in one", "another step", "other weights"])
def test_all_processes_continue_from_the_checkpoint_of_the_first(together, case):
    """As on two machines without common storage, where only the first one's is of the last step."""
    first, second = weights(together, case)
    assert [len(process["states"]) for process in seen(together, case)] == [6, 6]
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    expected, _ = weights(together, "equal")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in first.items())


@pytest.mark.parametrize("case", ["network", "supernet", "supernet of V2"])
def test_with_synchronized_batch_norm_two_processes_train_as_one(together, case):
    kept = (torch.load(together / f"{case}-{name}", weights_only=True) for name in ("alone", "0", "1"))
    (losses, one), (first_losses, first), (second_losses, second) = kept
    assert first_losses == second_losses == pytest.approx(losses, abs=1e-5) and len(set(losses)) == 20
    for name, tensor in one.items():
        assert torch.equal(first[name], second[name]), name
        if "running_var" in name:
            assert torch.allclose(first[name], tensor, rtol=1e-2), name


def test_a_batch_is_divided_evenly():
    parts = [World(rank=rank, size=4).part_of(list(range(8))) for rank in range(4)]
    assert sorted(itertools.chain.from_iterable(parts)) == list(range(8)) and {len(part) for part in parts} == {2}
    with pytest.raises(UsageError, match="evenly among 3 processes"):
        World(rank=0, size=3).part_of(list(range(8)))
    with pytest.raises(UsageError, match=r"one image for each of 4 processes.*at least 8"):
        World(rank=0, size=4).part_of(list(range(4)))
    assert World().part_of([7]) == [7]


def test_half_a_description_of_a_world_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(UsageError, match=r"LOCAL_RANK.*torchrun"):
        join_world()


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join_world() == World() and World().is_first

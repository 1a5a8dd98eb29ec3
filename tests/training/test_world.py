"""Two processes that train together, started by torchrun, against one that sees whole batches."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from efficientformer.errors import UsageError
from efficientformer.training.world import World, join_world

SCRIPT = '''
import sys
from pathlib import Path
import torch
from torch import nn
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.loop import fit
from efficientformer.training.recipe import Recipe
from efficientformer.tasks.task import Task
from efficientformer.training.world import join_world

torch.set_num_threads(1)
folder, world = Path(sys.argv[1]), join_world()

class Sampled(Task):
    """One of two branches per step, by chance, so that the other has no gradient."""
    def loss(self, model, x, y, progress):
        branch = model[int(torch.rand(()) < 0.5)]
        return nn.functional.cross_entropy(branch(x.flatten(1)), y)

def batches_from(step):
    while True:
        generator = torch.Generator().manual_seed(step)
        x, y = torch.randn(8, 3, 4, 4, generator=generator), torch.randint(4, (8,), generator=generator)
        mine = world.part_of(list(range(8)))
        yield x[mine], y[mine]
        step += 1

torch.manual_seed(0)
model = nn.ModuleList([nn.Linear(48, 4), nn.Linear(48, 4)])
recipe = Recipe(num_steps=12, steps_per_epoch=6, peak_lr=0.01, seed=3, ema_decay=0.9)
scored = []
network = fit(
    model, Sampled(), batches_from, recipe,
    checkpoint=CheckpointFile(folder / "checkpoint.pt", "run", interval_s=0.0),
    log=MetricsLog(folder / "metrics.jsonl"),
    on_epoch=lambda epoch, network: scored.append(epoch) or {}, world=world,
)
assert bool(scored) == world.is_first
torch.save(network.state_dict(), folder / f"weights-{world.rank}.pt")
'''


def train(folder: Path, *launcher: str) -> None:
    folder.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, *launcher, str(folder / "script.py"), str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr


def test_two_processes_end_with_the_weights_of_one(tmp_path):
    train(tmp_path / "alone")
    train(tmp_path / "together", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    alone = torch.load(tmp_path / "alone" / "weights-0.pt", weights_only=True)
    first, second = (torch.load(tmp_path / "together" / f"weights-{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, tensor in alone.items():
        assert torch.equal(first[name], second[name]), "processes do not drift apart"
        assert torch.allclose(tensor, first[name], atol=1e-6)
    logs = [(tmp_path / name / "metrics.jsonl").read_text().count("\n") for name in ("alone", "together")]
    assert logs[0] == logs[1] > 0, "one process writes"


def test_a_batch_is_divided_evenly():
    parts = [World(rank=rank, size=4).part_of(list(range(8))) for rank in range(4)]
    assert sorted(itertools.chain.from_iterable(parts)) == list(range(8)) and {len(part) for part in parts} == {2}
    with pytest.raises(UsageError, match="evenly among 3 processes"):
        World(rank=0, size=3).part_of(list(range(8)))


def test_half_a_description_of_a_world_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(UsageError, match=r"LOCAL_RANK.*torchrun"):
        join_world()


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join_world() == World() and World().is_first

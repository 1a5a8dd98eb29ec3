"""Training of the slimmable network: the sandwich, its losses, and that it resumes."""

import random

import pytest
import torch
from torch.nn import functional

from efficientformer.arch.spec import num_heads_of
from efficientformer.data.loading.loader import Batch
from efficientformer.data.mixing import build_mixing
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.slimmable import SlimmableNetwork
from efficientformer.search.supernet.slimmable_task import SlimmableTask
from efficientformer.tasks.classification.kind import ONE_LABEL
from efficientformer.training.checkpoint import CheckpointFile
from efficientformer.training.loop import fit
from efficientformer.training.metrics_log import MetricsLog
from efficientformer.training.recipe import Recipe
from tests.search.slimmable import CLASSES, SPACE, images, random_supernet


@pytest.fixture
def supernet() -> SlimmableNetwork:
    return random_supernet()


def task(mix=None, **options):
    return SlimmableTask(mix or build_mixing(0.0, 0.0, CLASSES, 0.0), kind=ONE_LABEL, **options)


def step_networks(monkeypatch, supernet, calls=1, **options):
    """The subnets and images of training steps."""
    seen, forward_at = [], SlimmableNetwork.forward_at

    def spy(self, subnet, x, recompute=False):
        seen.append((subnet, x, recompute))
        return forward_at(self, subnet, x, recompute)

    monkeypatch.setattr(SlimmableNetwork, "forward_at", spy)
    for _ in range(calls):
        task(**options).loss(supernet, Batch(images(), torch.arange(6) % CLASSES), 0.0)
    return seen


def test_a_step_trains_the_largest_the_smallest_and_two_random_networks(supernet, monkeypatch):
    random.seed(3)
    seen = [subnet for subnet, *_ in step_networks(monkeypatch, supernet, calls=15)]
    assert seen[0::4] == [Subnet.largest(SPACE)] * 15 and seen[1::4] == [Subnet.smallest(SPACE)] * 15
    drawn = seen[2::4] + seen[3::4]
    assert len(set(drawn)) > 25
    blocks = {block for subnet in drawn for stage in subnet.architecture.stages for block in stage.blocks}
    candidates = {block for stage in SPACE.stages for block in stage.candidates}
    assert blocks <= candidates
    for part_of in (lambda block: (block.kind, block.mlp_ratio), num_heads_of):
        assert set(map(part_of, blocks)) == set(map(part_of, candidates))
    assert {subnet.origins[2] for subnet in drawn} == {(0,), (1,), (0, 1)}, "the first place goes too"
    random.seed(3)
    monkeypatch.undo()
    assert [subnet for subnet, *_ in step_networks(monkeypatch, supernet, calls=15)] == seen, "the loop's seed decides"


@pytest.mark.parametrize(("networks", "ends"), [(3, 2), (2, 1), (1, 0)])
def test_a_step_of_fewer_networks_leaves_out_a_random_one_then_the_smallest_then_the_largest(
    supernet, monkeypatch, networks, ends
):
    random.seed(3)
    seen = [subnet for subnet, *_ in step_networks(monkeypatch, supernet, calls=8, networks=networks)]
    for place, end in enumerate([Subnet.largest(SPACE), Subnet.smallest(SPACE)][:ends]):
        assert seen[place::networks] == [end] * 8
    assert len(seen) == 8 * networks and len(set(seen[ends::networks])) > 5


def test_the_largest_learns_from_labels_and_the_others_from_the_largest(supernet, monkeypatch):
    supernet.eval()
    x, labels = images(), torch.arange(6) % CLASSES
    random.seed(1)
    subnets = [subnet for subnet, *_ in step_networks(monkeypatch, supernet)]
    monkeypatch.undo()
    logits = [supernet.forward_at(subnet, x) for subnet in subnets]
    targets = logits[0].detach().softmax(1)
    by_labels = functional.cross_entropy(logits[0], labels) / 4
    by_teacher = sum(-(targets * student.log_softmax(1)).sum(1).mean() for student in logits[1:]) / 4
    random.seed(1)
    loss = task().loss(supernet, Batch(x, labels), 0.0)
    assert torch.allclose(loss, by_labels + by_teacher, atol=1e-6)
    weight = supernet.stages[3].blocks[1].mlp.fc1.weight
    (taught,) = torch.autograd.grad(by_labels, weight, retain_graph=True)
    (students,) = torch.autograd.grad(by_teacher, weight)
    loss.backward()
    assert torch.allclose(weight.grad, taught + students, atol=1e-7)
    wide = max(subnet.architecture.widths[3] for subnet in subnets[1:])
    assert wide < 48 and weight.grad[:, wide:].abs().max() > 1e-6, "some channels are of the largest alone"
    assert torch.allclose(weight.grad[:, wide:], taught[:, wide:], atol=1e-8), "only the labels teach the largest"


def test_one_mix_of_a_batch_trains_all_networks_of_a_step(supernet, monkeypatch):
    mix = build_mixing(0.8, 0.0, CLASSES, 0.1)
    torch.manual_seed(5)
    expected, targets = mix(images(), torch.arange(6) % CLASSES)
    torch.manual_seed(5)
    seen = step_networks(monkeypatch, supernet, mix=mix)
    assert not torch.equal(expected, images()) and all(torch.equal(x, expected) for _, x, _ in seen)
    monkeypatch.undo()
    supernet.eval()
    largest = functional.cross_entropy(supernet(expected), targets)
    torch.manual_seed(5), random.seed(5)
    loss = task(mix, networks=2).loss(supernet, Batch(images(), torch.arange(6) % CLASSES), 0.0)
    random.seed(5)
    _, (drawn, *_) = step_networks(monkeypatch, supernet, mix=mix, networks=2)
    other = supernet.forward_at(drawn, expected)
    assert torch.allclose(2 * loss, largest + functional.cross_entropy(other, supernet(expected).softmax(1)), atol=1e-5)


class Killed(BaseException):
    pass


def trained(folder, *, killed_at=None):
    """The moving average after six steps with mixup; killed once after one of them."""

    def batches_from(step):
        while True:
            generator = torch.Generator().manual_seed(step)
            yield Batch(
                torch.randn(6, 3, 16, 16, generator=generator), torch.randint(CLASSES, (6,), generator=generator)
            )
            step += 1

    def on_step(step, loss):
        if step == killed_at:
            raise Killed

    torch.manual_seed(0)
    network = SlimmableNetwork(SPACE, resolution=16, num_classes=CLASSES)
    return fit(
        network,
        task(build_mixing(0.4, 0.4, CLASSES, 0.1)),
        batches_from,
        Recipe(num_steps=6, steps_per_epoch=3, peak_lr=0.01, seed=3, ema_decay=0.5),
        checkpoint=CheckpointFile(folder / "checkpoint.pt", "run", interval_s=0.0),
        log=MetricsLog(folder / "metrics.jsonl"),
        on_step=on_step,
    )


def test_a_training_that_was_killed_ends_like_one_that_was_not(tmp_path):
    whole = trained(tmp_path / "whole")
    with pytest.raises(Killed):
        trained(tmp_path / "killed", killed_at=4)
    resumed = trained(tmp_path / "killed")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert isinstance(whole, SlimmableNetwork) and whole.space == SPACE, "the average is a supernet"

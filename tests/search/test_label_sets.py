"""Several labels an image in the search: scores of subnets, losses of supernets, importances of channels."""

import math

import pytest
import torch
from torch.nn import functional

from efficientformer.data.loading.loader import Batch
from efficientformer.data.mixing import build_label_mixing
from efficientformer.search.scoring.accuracy import SupernetAccuracy, extract_network, reestimate_batch_norm
from efficientformer.search.scoring.channels import channel_importances
from efficientformer.search.scoring.tally import SHARPNESS, Tally
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.slimmable_task import SlimmableTask
from efficientformer.tasks.multi_label.kind import LABEL_SETS
from efficientformer.tasks.multi_label.scores import label_scores

from .slimmable import CLASSES, SPACE, images, random_supernet


def labels_of(count, seed=0):
    return (torch.rand(count, CLASSES, generator=torch.Generator().manual_seed(seed)) > 0.6).float()


def by_hand(logits, labels) -> float:
    """The likelihood of all answers in percent, at the best factor that scores try."""
    losses = [
        functional.binary_cross_entropy_with_logits(float(s) * logits.double(), labels.double()) for s in SHARPNESS
    ]
    return 100 * math.exp(-min(losses))


def test_the_likelihood_is_that_of_all_answers_at_the_best_temperature():
    logits, labels = 3 * torch.randn(40, CLASSES, generator=torch.Generator().manual_seed(1)), labels_of(40)
    tally = Tally(LABEL_SETS)
    for part in zip(logits.split(15), labels.split(15), strict=True):
        tally.add(*part)
    score = tally.score()
    assert score.likelihood == pytest.approx(by_hand(logits, labels), rel=1e-5)
    assert score.primary == score.value("mean_ap") == label_scores(logits, labels).mean_ap


def test_what_is_to_come_cannot_beat_the_bound():
    logits, labels = torch.randn(30, CLASSES, generator=torch.Generator().manual_seed(2)), labels_of(30)
    tally, bounds = Tally(LABEL_SETS), []
    for index in range(3):
        tally.add(logits[10 * index : 10 * index + 10], labels[10 * index : 10 * index + 10])
        bounds.append(tally.score(20 - 10 * index))
    assert bounds[0].likelihood > bounds[1].likelihood > bounds[2].likelihood
    assert bounds[0].primary == bounds[1].primary == 100.0 > bounds[2].primary


def test_a_subnet_is_scored_by_its_own_answers():
    supernet, x, labels = random_supernet().eval(), images(24), labels_of(24)
    subnet = Subnet.smallest(SPACE)
    score = SupernetAccuracy(supernet, [x], [(x, labels)], kind=LABEL_SETS).score(subnet)
    network = extract_network(supernet, subnet)
    reestimate_batch_norm(network, [x])
    with torch.inference_mode():
        logits = network(x)
    assert score.likelihood == pytest.approx(by_hand(logits, labels), rel=1e-4)
    assert score.primary == pytest.approx(label_scores(logits, labels).mean_ap, abs=1e-3)


def test_narrow_networks_learn_the_answers_of_the_largest():
    supernet, x, labels = random_supernet(), images(8), labels_of(8)
    mix = build_label_mixing(0.0, 0.0, [0.4] * CLASSES, 0.0)
    task = SlimmableTask(mix, networks=2, kind=LABEL_SETS)
    drawn = iter([Subnet.largest(SPACE), Subnet.smallest(SPACE)])
    task._drawn = lambda space: [*drawn]  # type: ignore[method-assign]
    loss = task.loss(supernet, Batch(x, labels), 0.0)
    largest, smallest = (supernet.forward_at(net(SPACE), x) for net in (Subnet.largest, Subnet.smallest))
    bce = functional.binary_cross_entropy_with_logits
    expected = (bce(largest, labels) + bce(smallest, largest.detach().sigmoid())) / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_channels_matter_by_the_binary_loss():
    """By one weight of the head: importances are those of the loss that trained the network."""
    network = extract_network(random_supernet().eval(), Subnet.smallest(SPACE))
    x, labels = images(6), labels_of(6)
    reestimate_batch_norm(network, [x])
    found = channel_importances(network, [(x, labels)], LABEL_SETS)
    again = channel_importances(network, [(x, 1 - labels)], LABEL_SETS)
    assert all((of_stage >= 0).all() and of_stage.isfinite().all() for of_stage in found.stages)
    assert not torch.allclose(found.stages[-1], again.stages[-1])

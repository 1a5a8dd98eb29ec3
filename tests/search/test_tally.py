"""A network's score: right answers, and the likelihood at its best temperature."""

import math
from itertools import pairwise

import pytest
import torch

from efficientformer.search.scoring.tally import SHARPNESS, Tally
from efficientformer.tasks.classification.kind import ONE_LABEL
from tests.search.likelihood import best_likelihood


def batch(num_images: int, num_classes: int, sharpness: float, seed: int = 0):
    """Labels drawn by the probabilities of logits, and these logits made sharper."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(num_images, num_classes, generator=generator)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    return sharpness * logits, labels


def tallied(*batches) -> Tally:
    tally = Tally(ONE_LABEL)
    for logits, labels in batches:
        tally.add(logits, labels)
    return tally


def test_two_logits_by_hand():
    """Three of four right by one logit: the best temperature makes them sure to 3/4, so the likelihood is
    (3/4)^(3/4) (1/4)^(1/4)."""
    logits, labels = torch.tensor([[1.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])
    score = tallied((logits, labels)).score()
    assert score.primary == 75.0
    assert score.likelihood == pytest.approx(100 * 0.75**0.75 * 0.25**0.25, rel=1e-4)


@pytest.mark.parametrize("num_classes", [2, 10, 1000])
@pytest.mark.parametrize("sharpness", [0.3, 1.0, 3.0])
def test_the_likelihood_is_that_of_the_best_temperature(num_classes, sharpness):
    logits, labels = batch(300, num_classes, sharpness)
    score = tallied((logits, labels)).score()
    assert score.likelihood == pytest.approx(best_likelihood(logits, labels), rel=1e-3)


def test_surer_networks_score_alike():
    scores = [tallied(batch(300, 10, sharpness)).score() for sharpness in SHARPNESS[[20, 24, 32]].tolist()]
    assert scores[0].primary == scores[1].primary == scores[2].primary
    assert [score.likelihood for score in scores] == pytest.approx([scores[0].likelihood] * 3, rel=1e-3)


def test_batches_add_up_and_what_is_to_come_cannot_beat_the_bound():
    logits, labels = batch(300, 10, 1.0)
    whole, parts = tallied((logits, labels)).score(), zip(logits.split(70), labels.split(70), strict=True)
    tally, left, bounds = Tally(ONE_LABEL), 300, []
    for part in parts:
        tally.add(*part)
        left -= len(part[1])
        bounds.append(tally.score(left))
    assert bounds[-1].primary == whole.primary and math.isclose(bounds[-1].likelihood, whole.likelihood, rel_tol=1e-9)
    for earlier, later in pairwise(bounds):
        assert earlier.primary >= later.primary and earlier.likelihood > later.likelihood

"""Several labels an image: average precision and losses by hand, and against definitions of other people's."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from efficientformer.data.loading.loader import Batch
from efficientformer.data.mixing import binary_weights, build_label_mixing
from efficientformer.errors import DataError, TrainingError
from efficientformer.formats.slimming import MetricName
from efficientformer.formats.values import DENSE_TASKS, PRIMARY, TaskName
from efficientformer.search.scoring.score import Metric
from efficientformer.tasks.classification.kind import ONE_LABEL
from efficientformer.tasks.classification.prediction import READINGS
from efficientformer.tasks.kinds import KINDS
from efficientformer.tasks.multi_label.kind import LABEL_SETS
from efficientformer.tasks.multi_label.scores import average_precisions, label_scores
from efficientformer.tasks.words import TASKS, task_words, words_of


class Fixed(torch.nn.Module):
    """Answers with the logits written into the images."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x.flatten(1)


def precision(scores, labels) -> float:
    """The mean, over the images of the class, of the precision among all that score at least as high."""
    found = []
    for score, label in zip(scores, labels, strict=True):
        if label:
            taken = [other for value, other in zip(scores, labels, strict=True) if value >= score]
            found.append(sum(taken) / len(taken))
    return sum(found) / len(found)


def test_the_average_precision_of_a_ranking_by_hand():
    """The images of the class are first, third and last of five: (1/1 + 2/3 + 3/5) / 3."""
    scores, labels = torch.tensor([[5.0], [1.0], [4.0], [2.0], [3.0]]), torch.tensor([[1.0], [1], [0], [0], [1]])
    assert average_precisions(scores, labels).item() == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_equal_scores_are_worth_the_share_of_the_class_in_any_order():
    labels = torch.tensor([[1.0], [0], [0], [1], [0]])
    for turn in range(5):
        found = average_precisions(torch.full((5, 1), -3.0), labels.roll(turn, 0)).item()
        assert found == pytest.approx(0.4), "a network that knows nothing has the share of the class"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 4))
def test_the_average_precision_is_that_of_its_definition_with_any_ties(seed, num_images, levels):
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, levels, (num_images, 3)).astype(np.float32), rng.integers(0, 2, (num_images, 3))
    found = average_precisions(torch.from_numpy(scores), torch.from_numpy(labels).float()).tolist()
    for column, value in enumerate(found):
        if labels[:, column].any():
            assert value == pytest.approx(precision(scores[:, column].tolist(), labels[:, column].tolist()))
        else:
            assert math.isnan(value)


def test_classes_without_images_are_left_out_of_the_mean():
    scores = label_scores(torch.tensor([[2.0, 1, 0], [1, 2, 0]]), torch.tensor([[1.0, 1, 0], [0, 0, 0]]))
    assert scores.average_precisions == (100.0, 50.0, None) and scores.primary == scores.mean_ap == 75.0
    record = scores.to_record(["a", "b", "c"])
    assert record["per_class"][2] == {"name": "c", "ap": None, "num_images": 0} and "confusion" not in record
    assert words_of(record) == task_words("multi_label") == LABEL_SETS.words
    with pytest.raises(DataError, match="no mean average precision"):
        _ = label_scores(torch.zeros(2, 1), torch.zeros(2, 1)).mean_ap


def test_batches_are_scored_together_and_outputs_must_be_finite():
    images, labels = torch.randn(7, 1, 1, 3), (torch.rand(7, 3) > 0.4).float()
    labels[0] = 1.0
    parts = [(images[:3], labels[:3]), (images[3:], labels[3:])]
    seen: list[int] = []
    scores = LABEL_SETS.evaluate(Fixed(), parts, 3, on_batch=seen.append)
    assert scores == label_scores(images.flatten(1), labels) and seen == [3, 4]
    images[2, 0, 0, 1] = math.nan
    with pytest.raises(TrainingError, match="not finite for 1 of 7 images"):
        LABEL_SETS.evaluate(Fixed(), [(images, labels)], 3)


@pytest.fixture
def some():
    generator = torch.Generator().manual_seed(0)
    logits, other = (3 * torch.randn(6, 4, generator=generator) for _ in range(2))
    return logits, other, (torch.rand(6, 4, generator=generator) > 0.5).float()


def test_the_loss_is_binary_cross_entropy(some):
    logits, other, labels = some
    expected = functional.binary_cross_entropy_with_logits(logits, labels)
    assert torch.allclose(LABEL_SETS.loss(logits, LABEL_SETS.targets(labels)), expected)
    assert torch.allclose(LABEL_SETS.loss(logits, LABEL_SETS.targets(labels), reduction="sum"), 6 * expected)
    task = LABEL_SETS.task(build_label_mixing(0.0, 0.0, [0.5] * 4, 0.0))
    assert torch.allclose(task.loss(Fixed(), Batch(logits[:, None, None], labels), 0.0), expected)
    soft = functional.binary_cross_entropy_with_logits(logits, other.sigmoid())
    assert torch.allclose(LABEL_SETS.loss(logits, LABEL_SETS.answers(other)), soft)
    hard = functional.binary_cross_entropy_with_logits(logits, (other > 0).float())
    assert torch.allclose(LABEL_SETS.loss(logits, LABEL_SETS.decisions(other)), hard)


def test_the_divergence_is_that_of_every_answer(some):
    logits, other, _ = some
    assert LABEL_SETS.divergence(logits, logits.clone(), 2.0).item() == pytest.approx(0.0, abs=1e-6)
    p, q = ((values.double() / 2).sigmoid() for values in (other, logits))
    by_hand = 4 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
    assert LABEL_SETS.divergence(logits, other, 2.0).item() == pytest.approx(by_hand.item(), rel=1e-4)


def test_losses_at_a_factor_are_those_of_multiplied_logits(some):
    logits, _, labels = some
    factors = torch.tensor([0.5, 1.0, 3.0])
    losses = LABEL_SETS.losses_at(factors, logits, labels)
    for factor, of_factor in zip(factors, losses, strict=True):
        each = functional.binary_cross_entropy_with_logits(factor * logits, labels, reduction="none").mean(dim=1)
        assert torch.allclose(of_factor, each, atol=1e-6)


def test_smoothing_moves_targets_to_the_shares_and_leaves_their_mean():
    labels = torch.tensor([[1.0, 0], [0, 0], [0, 1], [1, 0]])
    _, targets = build_label_mixing(0.0, 0.0, [0.5, 0.25], 0.2)(torch.rand(4, 3, 4, 4), labels)
    assert torch.allclose(targets[0], torch.tensor([[0.8 + 0.2 * 0.5, 0.1], [0.2 * 0.25, 0.95]]))
    assert torch.allclose(targets[..., 0].mean(dim=0), labels.mean(dim=0))
    assert torch.allclose(targets.sum(dim=2), torch.ones(4, 2))


def test_mixed_images_have_the_labels_of_both_by_their_shares():
    x, labels = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 4, 4), torch.eye(4)
    torch.manual_seed(0)
    mixed, targets = build_label_mixing(0.8, 0.0, [0.25] * 4, 0.0)(x, labels)
    assert torch.allclose(mixed[:, 0, 0, 0], targets[..., 0] @ torch.arange(4.0)), "each image has a label of its own"
    assert ((targets[..., 0] > 0).sum(dim=1) == 2).all()


def test_weights_give_images_with_and_without_a_class_the_same_sum():
    weights = binary_weights([1, 6, 0, 8], 8)
    assert weights[0] == (4.0, 8 / 14) and weights[2] == weights[3] == (1.0, 1.0)
    for (of_with, of_without), count in zip(weights[:2], (1, 6), strict=True):
        assert of_with * count == pytest.approx(of_without * (8 - count)) == pytest.approx(4)
    labels = torch.tensor([[1.0, 0]])
    _, targets = build_label_mixing(0.0, 0.0, [0.1, 0.8], 0.0, weights[:2])(torch.rand(1, 3, 4, 4), labels)
    assert torch.allclose(targets, torch.tensor([[[4.0, 0], [0, weights[1][1]]]]))


def test_every_task_has_what_the_others_ask_for():
    names = set(get_args(TaskName))
    assert names == {*KINDS} == {*PRIMARY} == {*READINGS, *DENSE_TASKS} == {words.name for words in TASKS}
    assert KINDS["classification"] is ONE_LABEL and KINDS["multi_label"] is LABEL_SETS
    assert not {*READINGS} & {*DENSE_TASKS} and {words.name for words in TASKS if words.is_dense} == {*DENSE_TASKS}
    searched = {words.primary for words in TASKS if not words.unsearched}
    assert searched | {"likelihood"} == set(get_args(Metric)) == set(get_args(MetricName))
    for name, kind in KINDS.items():
        assert kind.words is task_words(name) and kind.words.primary in kind.words.metrics

"""A class for every pixel: scores by hand and by direct counting, and losses that ignored pixels do not touch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from efficientformer.data.loading.loader import Batch
from efficientformer.data.masks.mask import IGNORED
from efficientformer.data.masks.view import PADDING
from efficientformer.errors import DataError, TrainingError, UsageError
from efficientformer.tasks.kinds import evaluate
from efficientformer.tasks.semantic.kind import SEMANTIC_KIND

K = 5


class Fixed(torch.nn.Module):
    """Answers with the logits written into the images."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x


def planted(seed, count=6, height=7, width=9, classes=K):
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, classes - 1, (count, height, width))  # the last class is in no mask
    masks[rng.random(masks.shape) < 0.2] = IGNORED
    return torch.from_numpy(masks), torch.from_numpy(rng.normal(size=(count, classes, height, width))).float()


def direct(masks, taken):
    """IoU and accuracy of every class by sets of pixels, over the whole set; None without pixels."""
    ious, accuracies, right = [], [], 0
    where = [index for index in np.ndindex(*masks.shape) if masks[index] != IGNORED]
    for number in range(K):
        own = {index for index in where if masks[index] == number}
        found = {index for index in where if taken[index] == number}
        ious.append(100 * len(own & found) / len(own | found) if own | found else None)
        accuracies.append(100 * len(own & found) / len(own) if own else None)
        right += len(own & found)
    return ious, accuracies, 100 * right / len(where)


def mean(values):
    known = [value for value in values if value is not None]
    return sum(known) / len(known)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1, 2, 6]), st.booleans())
def test_scores_are_those_of_a_direct_count_whatever_the_batches(seed, batch_size, is_last_taken):
    masks, logits = planted(seed)
    if not is_last_taken:
        logits[:, K - 1] = -100
    batches = list(zip(logits.split(batch_size), masks.split(batch_size), strict=True))
    scores = evaluate(Fixed(), batches, K, task="semantic")
    ious, accuracies, pixel_accuracy = direct(masks.numpy(), logits.argmax(dim=1).numpy())
    assert scores.ious == pytest.approx(ious) and scores.accuracies == pytest.approx(accuracies)
    assert (ious[K - 1] is None) == (not is_last_taken), (
        "absent but taken counts as 0, absent and never taken not at all"
    )
    assert scores.miou == scores.primary == pytest.approx(mean(ious))
    assert scores.mean_accuracy == pytest.approx(mean(accuracies))
    assert scores.pixel_accuracy == pytest.approx(pixel_accuracy)
    assert scores.num_images == 6 and sum(scores.num_pixels) == int((masks != IGNORED).sum())
    record = scores.to_record(list("abcde"))
    assert record["per_class"][K - 1]["num_images"] == 0 and record["miou"] == scores.miou
    count = SEMANTIC_KIND.count()
    for logits_BKHW, masks_BHW in batches:
        count.add(logits_BKHW, masks_BHW)
    assert count.best(0) == pytest.approx(scores.miou) and count.best(1) == 100


def test_it_is_no_mean_over_images():
    """Class 0: 1 of 1 in the first image and 0 of 3 in the second is 1/4 of the set, not 1/2."""
    masks = torch.tensor([[[0, IGNORED, IGNORED]], [[0, 0, 0]]])
    taken = torch.tensor([[[0, 1, 1]], [[1, 1, 1]]])
    scores = evaluate(Fixed(), [(functional.one_hot(taken, 2).permute(0, 3, 1, 2).float(), masks)], 2, task="semantic")
    assert scores.ious == (25.0, 0.0) and scores.miou == 12.5 and scores.pixel_accuracy == 25.0


def test_masks_are_scored_at_their_own_size_without_the_padding_of_a_batch():
    logits = torch.zeros(2, 2, 2, 2)
    logits[:, 1, :, 1] = 4.0
    masks = torch.full((2, 4, 6), PADDING)
    masks[0, :4, :4] = torch.tensor([0, 0, 1, 1])
    masks[1, :2, :6] = torch.tensor([0, 0, 0, 1, 1, 1])
    scores = evaluate(Fixed(), [(logits - torch.tensor([0.0, 2.0])[:, None, None], masks)], 2, task="semantic")
    assert scores.miou == 100 and scores.num_pixels == (8 + 6, 8 + 6)


def test_scores_of_nothing_and_of_lost_logits_are_errors():
    masks, logits = planted(0)
    nothing = evaluate(Fixed(), [(logits, torch.full_like(masks, IGNORED))], K, task="semantic")
    with pytest.raises(DataError, match="None of the pixels that score has a class"):
        _ = nothing.miou
    logits[2, 1, 3, 3] = torch.nan
    with pytest.raises(TrainingError, match="not finite for 1 of 6 images"):
        evaluate(Fixed(), [(logits, masks)], K, task="semantic")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_the_labelled_pixels_alone(smoothing):
    masks, logits = planted(1)
    logits.requires_grad_(True)
    task = SEMANTIC_KIND.task(SEMANTIC_KIND.mixing(None, smoothing, is_weighted=False))  # type: ignore[arg-type]
    loss = task.loss(Fixed(), Batch(logits, masks), 0.0)
    is_labelled = masks != IGNORED
    flat_NK = logits.permute(0, 2, 3, 1)[is_labelled]
    expected = functional.cross_entropy(flat_NK, masks[is_labelled], label_smoothing=smoothing)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert (logits.grad.permute(0, 2, 3, 1)[~is_labelled] == 0).all()
    assert SEMANTIC_KIND.loss(logits, masks, label_smoothing=smoothing, reduction="sum").item() == pytest.approx(
        6 * expected.item(), rel=1e-5
    )


def test_a_batch_that_is_ignored_as_a_whole_has_loss_0_and_no_gradient():
    masks, logits = planted(2)
    layer = torch.nn.Conv2d(K, K, 1)
    for smoothing in (0.0, 0.1):
        layer.zero_grad()
        loss = SEMANTIC_KIND.loss(layer(logits), torch.full_like(masks, IGNORED), label_smoothing=smoothing)
        loss.backward()
        assert loss.item() == 0 and all((weight.grad == 0).all() for weight in layer.parameters())
    losses = SEMANTIC_KIND.losses_at(torch.tensor([1.0, 2.0]), logits, torch.full_like(masks, IGNORED))
    assert (losses == 0).all()


def test_answers_as_targets_and_the_divergence_of_two_networks():
    _, logits = planted(3)
    _, taught = planted(4)
    answers = SEMANTIC_KIND.answers(taught)
    cross, entropy = SEMANTIC_KIND.loss(logits, answers), SEMANTIC_KIND.loss(taught, answers)
    by_pixel = functional.kl_div(logits.log_softmax(1), answers, reduction="none").sum(dim=1)
    assert SEMANTIC_KIND.divergence(logits, taught, 1.0).item() == pytest.approx(by_pixel.mean().item(), rel=1e-5)
    assert (cross - entropy).item() == pytest.approx(by_pixel.mean().item(), rel=1e-4)
    assert SEMANTIC_KIND.divergence(taught, taught, 2.0).item() == pytest.approx(0, abs=1e-6)
    softened = functional.kl_div((logits / 2).log_softmax(1), (taught / 2).softmax(1), reduction="none").sum(dim=1)
    assert SEMANTIC_KIND.divergence(logits, taught, 2.0).item() == pytest.approx(4 * softened.mean().item(), rel=1e-5)
    assert torch.equal(SEMANTIC_KIND.decisions(taught), taught.argmax(dim=1))


def test_losses_at_factors_are_those_of_multiplied_logits():
    masks, logits = planted(5)
    factors = torch.tensor([0.5, 1.0, 3.0])
    losses_SB = SEMANTIC_KIND.losses_at(factors, logits, masks)
    for factor, losses_B in zip(factors, losses_SB, strict=True):
        expected = [SEMANTIC_KIND.loss(factor * logits[[i]], masks[[i]]).item() for i in range(6)]
        assert losses_B.tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("given", "reason"),
    [({"is_weighted": True}, "no weights of classes"), ({"mixup": 0.2}, "mixup"), ({"cutmix": 1.0}, "mixup")],
)
def test_mixing_and_weights_are_refused_in_one_line(given, reason):
    options = {"is_weighted": False, **given}
    for make in (SEMANTIC_KIND.mixing, SEMANTIC_KIND.supernet_mixing):
        with pytest.raises(UsageError, match=reason):
            make(None, 0.1, **options)

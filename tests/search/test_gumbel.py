import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from efficientformer.search.supernet.gumbel import path_weights, straight_through


def direct_softmax(logits: list[float], noise: list[float], temperature: float) -> list[float]:
    """The paper's formula written out."""
    exponentials = [math.exp((a + e) / temperature) for a, e in zip(logits, noise, strict=True)]
    return [value / sum(exponentials) for value in exponentials]


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=3), st.floats(0.2, 5), st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_weights_equal_the_formula_of_the_paper(logits, temperature, seed):
    alpha = torch.tensor(logits, dtype=torch.float64)
    torch.manual_seed(seed)
    noise = torch.rand_like(alpha)
    torch.manual_seed(seed)
    weights = path_weights(alpha, temperature=temperature, noise="uniform")
    assert weights.tolist() == pytest.approx(direct_softmax(logits, noise.tolist(), temperature), rel=1e-9)


def test_uniform_noise_stays_between_zero_and_one():
    alpha = torch.zeros(2, dtype=torch.float64)
    drawn = torch.stack([path_weights(alpha, temperature=1.0) for _ in range(4000)])
    log_ratio = (drawn[:, 0] / drawn[:, 1]).log()
    assert log_ratio.abs().max() < 1.0, "the difference of two U(0, 1) lies within (-1, 1)"
    assert log_ratio.std() == pytest.approx(math.sqrt(1 / 6), rel=0.05)


@pytest.mark.parametrize("probabilities", [(0.1, 0.2, 0.7), (0.45, 0.45, 0.1), (0.05, 0.1, 0.25, 0.6)])
def test_gumbel_noise_samples_paths_by_their_probabilities(probabilities):
    """With two paths noise of the wrong sign would sample by the same probabilities; with more it does not."""
    alpha_PN = torch.tensor(probabilities, dtype=torch.float64).log()[:, None].expand(-1, 40_000)
    torch.manual_seed(0)
    chosen_N = path_weights(alpha_PN, temperature=1.0, noise="gumbel").argmax(dim=0)
    shares = torch.bincount(chosen_N, minlength=len(probabilities)) / len(chosen_N)
    assert shares.tolist() == pytest.approx(probabilities, abs=0.01)


def test_gumbel_noise_has_the_mean_and_spread_of_its_distribution():
    alpha_PN = torch.zeros(3, 40_000, dtype=torch.float64)
    torch.manual_seed(0)
    log_weights_PN = path_weights(alpha_PN, temperature=1.0, noise="gumbel").log()
    # Differences of two Gumbel variables are logistic; the largest of three is longer-tailed above than below.
    difference_N = log_weights_PN[0] - log_weights_PN[1]
    assert difference_N.std().item() == pytest.approx(math.pi / math.sqrt(3), rel=0.02)
    top, second, third = log_weights_PN.sort(dim=0, descending=True).values
    assert (top - second).mean() > 1.3 * (second - third).mean()


def test_without_noise_the_weights_are_the_probabilities():
    alpha = torch.tensor([1.0, 2.0, 0.0])
    assert torch.equal(path_weights(alpha, temperature=1.0, noise="none"), torch.softmax(alpha, 0))


def test_straight_through_is_one_forward_and_the_softmax_backward():
    alpha = torch.tensor([0.5, 1.5, -1.0], requires_grad=True)
    weights = path_weights(alpha, temperature=0.7, noise="none")
    factor = straight_through(weights, chosen=1)
    assert factor.item() == 1.0
    (through,) = torch.autograd.grad(factor, alpha, retain_graph=True)
    (soft,) = torch.autograd.grad(weights[1], alpha)
    assert torch.equal(through, soft)

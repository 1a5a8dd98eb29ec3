"""Learning rates at points that are computed by hand."""

from dataclasses import replace

import pytest

from efficientformer.training.recipe import Recipe
from efficientformer.training.schedule import scheduled_lr

RECIPE = Recipe(num_steps=120, steps_per_epoch=10, peak_lr=2e-4, seed=0)


def rate(step, **options):
    return scheduled_lr(step, 100, **{"peak_lr": 1.0, "warmup_steps": 0, **options})


def test_steps_fall_after_epochs_8_and_11_of_12():
    recipe = replace(RECIPE, schedule="steps", lr_warmup_steps=5, first_lr=1e-6)
    rates = [recipe.lr(step) for step in range(120)]
    assert rates[:6] == pytest.approx([1e-6, 4.08e-5, 8.06e-5, 1.204e-4, 1.602e-4, 2e-4])
    assert set(rates[5:80]) == {2e-4}
    assert rates[80:110] == pytest.approx([2e-5] * 30) and rates[110:] == pytest.approx([2e-6] * 10)


def test_the_polynomial_falls_to_zero_or_to_what_is_given():
    assert [rate(step, schedule="poly") for step in (0, 50, 90)] == pytest.approx([1.0, 0.5**0.9, 0.1**0.9])
    assert rate(100, schedule="poly") == 0
    assert rate(50, schedule="poly", final_lr=0.2) == pytest.approx(0.2 + 0.8 * 0.5**0.9)
    # 20 of 80 steps after the warm-up.
    assert rate(40, schedule="poly", warmup_steps=20) == pytest.approx(0.75**0.9)


def test_the_cosine_ends_where_it_is_told():
    assert [rate(step) for step in (0, 50, 100)] == pytest.approx([1.0, 0.505, 0.01])
    assert [rate(step, final_lr=0.2) for step in (0, 25, 100)] == pytest.approx([1.0, 0.2 + 0.4 * (1 + 0.5**0.5), 0.2])
    paper = replace(RECIPE, peak_lr=1e-3, final_lr=1e-5, first_lr=1e-6, lr_warmup_steps=10)
    assert paper.lr(0) == 1e-6 and paper.lr(5) == pytest.approx((1e-6 + 1e-3) / 2) and paper.lr(10) == 1e-3
    assert paper.lr(119) == pytest.approx(1e-5, rel=0.05)


def test_warm_up_comes_after_the_steps_of_the_head_alone():
    recipe = replace(RECIPE, schedule="steps", lr_hold_steps=60, lr_warmup_steps=6, first_lr=0.0)
    rates = [recipe.lr(step) / 2e-4 for step in range(120)]
    assert rates[59] == 1 and rates[60] == 0 and rates[63] == pytest.approx(0.5)
    assert rates[99] == 1 and rates[100] == pytest.approx(0.1) and rates[115] == pytest.approx(0.01)

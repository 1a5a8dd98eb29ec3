import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efficientformer.errors import UsageError
from efficientformer.pipeline.run.budget import Budget, parse_budget, parse_budgets


@pytest.mark.parametrize(
    ("text", "slug", "latency_ms"),
    [
        ("8ms", "8ms", 8.0),
        ("0.5 ms", "0.5ms", 0.5),
        ("800us", "800us", 0.8),
        ("1s", "1s", 1000.0),
        ("40%", "40pct", 4.0),
    ],
)
def test_budgets_are_absolute_or_a_share_of_the_largest(text, slug, latency_ms):
    budget = parse_budget(text)
    assert budget.slug == slug
    assert budget.latency_ms(largest_ms=10.0) == pytest.approx(latency_ms)


@pytest.mark.parametrize(
    ("texts", "slugs"),
    [
        (("8ms", "8.0000001ms"), ["8ms", "8.0000001ms"]),
        (("33.3333333%", "33.3333334%"), ["33.3333333pct", "33.3333334pct"]),
        (("1234567us", "1234568us"), ["1234567.0us", "1234568.0us"]),
        (("1000000us", "0.00001ms"), ["1e+06us", "1e-05ms"]),
    ],
)
def test_budgets_that_differ_have_folders_that_differ_and_short_ones_keep_theirs(texts, slugs):
    budgets = parse_budgets(texts)
    assert [budget.slug for budget in budgets] == slugs
    assert [parse_budget(text).value for text in texts] == [budget.value for budget in budgets]
    assert len({budget.text for budget in budgets}) == 2, "nor do they share a name in messages"


@given(st.floats(1e-9, 1e12), st.sampled_from(["ms", "us", "s"]))
def test_the_folder_of_a_budget_has_every_digit_and_is_a_file_name(value, unit):
    budget, neighbor = Budget("", value, unit), Budget("", math.nextafter(value, math.inf), unit)
    assert budget.slug != neighbor.slug and float(budget.slug.removesuffix(unit)) == value
    assert len(budget.slug) < 30 and "/" not in budget.slug


@pytest.mark.parametrize(
    "text", ["9" * 400 + "ms", "8", "ms", "-3ms", "0ms", "100%", "eight ms", "8 kg", "", "1e3ms", "nanms"]
)
def test_anything_else_is_refused_with_the_forms_that_work(text):
    with pytest.raises(UsageError, match="--budget"):
        parse_budget(text)


def test_a_repeated_budget_counts_once():
    assert [budget.slug for budget in parse_budgets(("8ms", "4ms", "8.0 MS"))] == ["8ms", "4ms"]
    with pytest.raises(UsageError, match="At least one"):
        parse_budgets(())

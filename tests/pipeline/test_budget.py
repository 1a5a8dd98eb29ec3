import pytest

from efficientformer.errors import UsageError
from efficientformer.pipeline.run.budget import parse_budget, parse_budgets


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


@pytest.mark.parametrize("text", ["8", "ms", "-3ms", "0ms", "100%", "eight ms", "8 kg", "", "1e3ms", "nanms"])
def test_anything_else_is_refused_with_the_forms_that_work(text):
    with pytest.raises(UsageError, match="--budget"):
        parse_budget(text)


def test_a_repeated_budget_counts_once():
    assert [budget.slug for budget in parse_budgets(("8ms", "4ms", "8.0 MS"))] == ["8ms", "4ms"]
    with pytest.raises(UsageError, match="At least one"):
        parse_budgets(())

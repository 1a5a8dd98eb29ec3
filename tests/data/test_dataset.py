import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from efficientformer.data.dataset import holdout, require_divisible
from efficientformer.errors import DataError, UsageError

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
class_sizes = st.lists(st.integers(2, 30), min_size=1, max_size=6)
fractions = st.floats(0.01, 0.99)


def names(split):
    return [split.name(index) for index in range(len(split))]


@relaxed
@given(sizes=class_sizes, fraction=fractions, seed=st.integers(0, 1000))
def test_holdout_is_stratified_and_loses_nothing(make_split, sizes, fraction, seed):
    split = make_split(sizes, side=1)
    rest, held_out = holdout(split, fraction, seed)
    assert sorted(names(rest) + names(held_out)) == sorted(names(split))
    for size, num_rest, num_held_out in zip(
        sizes, rest.num_images_per_class(), held_out.num_images_per_class(), strict=True
    ):
        assert num_rest + num_held_out == size
        assert num_rest >= 1 and num_held_out >= 1
        assert abs(num_held_out - size * fraction) <= 1


@relaxed
@given(sizes=class_sizes, fraction=fractions, seed=st.integers(0, 1000))
def test_holdout_is_reproducible_and_keeps_the_order(make_split, sizes, fraction, seed):
    split = make_split(sizes, side=1)
    first, second = holdout(split, fraction, seed), holdout(split, fraction, seed)
    for one, other in zip(first, second, strict=True):
        assert names(one) == names(other) and one.labels == other.labels
        assert one.positions == sorted(one.positions)


def test_holdout_depends_on_the_seed_and_not_on_other_classes(make_split):
    split = make_split([40, 40], side=1)
    chosen = names(holdout(split, 0.25, 0)[1])
    assert chosen != names(holdout(split, 0.25, 1)[1])
    only_first = split.subset(range(40))
    assert names(holdout(only_first, 0.25, 0)[1]) == chosen[:10]


def test_an_added_image_moves_at_most_one_other(make_split):
    split = make_split([40], side=1)
    before = set(names(holdout(split.subset(range(39)), 0.25, 0)[1]))
    after = set(names(holdout(split, 0.25, 0)[1]))
    assert len(before - after) <= 1


def test_holdout_names_the_class_that_is_too_small(make_split):
    with pytest.raises(DataError, match=r"'class1' has 1; every class needs at least 2"):
        holdout(make_split([4, 1]), 0.5, 0)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, float("nan")])
def test_holdout_refuses_fractions_that_leave_nothing(make_split, fraction):
    with pytest.raises(UsageError, match="between 0 and 1"):
        holdout(make_split([4, 4]), fraction, 0)


def test_all_images_are_held_out_for_an_evaluation_alone(make_split):
    split = make_split([1, 4])
    rest, held_out = holdout(split, 1.0, 0)
    assert len(rest) == 0 and [held_out.name(i) for i in range(5)] == [split.name(i) for i in range(5)]
    require_divisible({"a": 1, "b": 4}, 1.0)
    with pytest.raises(DataError, match=r"\ba\b"):
        require_divisible({"a": 1, "b": 4}, 0.5)


def test_subsets_of_subsets_keep_image_name_and_label_together(make_split):
    split = make_split([3, 3])
    nested = split.subset([5, 0, 4]).subset([2, 0])
    assert names(nested) == ["image4", "image5"]
    assert nested.labels == [1, 1]
    assert nested.image(0).tobytes() == split.image(4).tobytes()

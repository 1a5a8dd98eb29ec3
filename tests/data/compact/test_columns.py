"""Arrays of numbers and texts are the sequences that they stand for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efficientformer.data.compact.numbers import Numbers
from efficientformer.data.compact.texts import Texts


@settings(max_examples=40)
@given(st.lists(st.text(alphabet="aé/\U0001f408", max_size=4), max_size=9), st.data())
def test_texts(texts, data):
    joined = Texts.of(texts)
    part = data.draw(st.slices(len(texts)))
    assert list(joined) == texts and list(joined[part]) == texts[part]
    assert [joined[-1 - index] for index in range(len(texts))] == texts[::-1]
    assert list(Texts.concatenated([joined[:3], joined, joined[3:]])) == texts[:3] + texts + texts[3:]
    assert joined.is_whole and not Texts(joined.joined + b"a", joined.ends).is_whole
    for beyond in (len(texts), -len(texts) - 1):
        with pytest.raises(IndexError):
            joined[beyond]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 5), max_size=9), st.data())
def test_numbers(numbers, data):
    compact = Numbers(np.array(numbers, np.int32))
    part = data.draw(st.slices(len(numbers)))
    assert list(compact) == numbers and list(compact[part]) == numbers[part]
    assert all(type(number) is int for number in [*compact, *map(compact.__getitem__, range(len(numbers)))])
    assert compact.counts(6) == [numbers.count(number) for number in range(6)]
    indices = data.draw(st.lists(st.integers(0, len(numbers) - 1))) if numbers else []
    assert list(compact.taken(indices)) == [numbers[i] for i in indices]
    assert list(compact.taken(Numbers(np.array(indices, np.int64)))) == [numbers[i] for i in indices]

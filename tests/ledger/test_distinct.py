from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.ledger.distinct import distinct, distinct_places, is_one_of

numbers = st.lists(st.integers(-5, 2**40), max_size=30).map(lambda values: np.array(values, dtype=np.int64))


@given(numbers)
def test_they_are_those_of_numpy(values):
    once, places = distinct_places(values)
    expected, of_numpy = np.unique(values, return_inverse=True)
    assert once.tolist() == distinct(values).tolist() == expected.tolist()
    assert places.tolist() == of_numpy.tolist()


@given(numbers, st.lists(st.integers(-5, 5), min_size=1, max_size=4))
def test_one_of_a_few(values, few):
    assert is_one_of(values, few).tolist() == np.isin(values, few).tolist()


def test_what_is_given_stays_as_it_is():
    values = np.array([3, 1, 2])
    distinct(values)
    distinct_places(values)
    assert values.tolist() == [3, 1, 2]

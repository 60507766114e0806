from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.ledger.room import with_room


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4))
def test_it_is_padded_with_zeros(sizes):
    array = np.arange(1.0, 1.0 + np.prod([have for have, _ in sizes])).reshape([have for have, _ in sizes])
    found = with_room(array, *(have + more for have, more in sizes))
    assert found.tolist() == np.pad(array, [(0, more) for _, more in sizes]).tolist()


def test_what_is_large_enough_is_no_copy():
    array = np.ones((2, 3))
    assert with_room(array, 2, 3) is array

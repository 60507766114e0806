from __future__ import annotations

import numpy as np
import pytest

from lightning_energy.ledger.marks import AtMarks
from lightning_energy.ledger.plain import look_of, plain_look, plain_state, state_of
from lightning_energy.ledger.steps import Look, Steps


@pytest.mark.parametrize("n", [0, 3])
def test_the_state_at_marks_is_the_same_afterwards(n):
    state = AtMarks(*np.random.default_rng(0).random((4, n)))
    np.testing.assert_array_equal(state_of(plain_state(state)), state)


def test_a_look_is_the_same_afterwards():
    energy_j, duration_s = np.random.default_rng(0).random((2, 5))
    for look in (Look(), Look((Steps.of(energy_j, duration_s, 0.1),) * 2, (1, 2.0, 0.0, 3.0), 7, 9)):
        found = look_of(plain_look(look))
        assert found[1:] == look[1:]
        assert len(found.steps) == len(look.steps)
        for one, other in zip(found.steps, look.steps, strict=True):
            np.testing.assert_array_equal(one[:2], other[:2])
            assert one[2:] == other[2:]
            assert type(one.sums) is type(other.sums)

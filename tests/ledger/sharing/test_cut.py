from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.ledger.sharing.cut import Cut
from lightning_energy.ledger.sharing.kernel import Kernel
from lightning_energy.ledger.sharing.timeline import Timeline


def test_seconds_of_what_turns_between_updates():
    # in force: 0 until 1 s, then 1 until 3 s, then none; updates at 0.5, 2 and 4 s
    cut = Cut(np.array([0.0, 1.0, 3.0]), np.array([0.5, 2.0, 4.0]), Kernel())
    assert cut.seconds(np.array([0, 1, -1]), 2).tolist() == [[0.5, 1.0], [0.0, 1.0]]


def test_a_late_sensor_that_looks_at_a_quarter():
    # half a second late, it sees 0 to 0.5 s and 2 to 2.5 s, and takes each for its whole interval of 2 s
    cut = Cut(np.array([-9.0, 0.25, 2.25]), np.array([0.5, 2.5, 4.5]), Kernel(0.5, look=0.25))
    assert cut.seconds(np.array([0, 1, 0]), 2) == pytest.approx(np.array([[1.0, 1.0], [1.0, 1.0]]))


@given(
    starts=st.lists(st.floats(0, 5).map(lambda x: round(x, 2)), max_size=30),
    knots=st.lists(st.floats(1, 6).map(lambda x: round(x, 2)), min_size=2, max_size=20, unique=True),
    kernel=st.builds(
        Kernel, st.floats(-0.02, 0.25), st.sampled_from([0.0, 1e-12, 0.001, 0.3]), st.sampled_from([1.0, 0.25])
    ),
    data=st.data(),
)
def test_it_is_what_the_kernel_sees_of_a_timeline(starts, knots, kernel, data):
    start_s, knot_s = np.array([-1.0, *sorted(starts)]), np.array(sorted(knots))
    column = np.array(data.draw(st.lists(st.integers(-1, 3), min_size=len(start_s), max_size=len(start_s))))
    expected = kernel.seconds(knot_s, Timeline(start_s, np.where(column < 0, 4, column), 5))[0][:, :4]
    assert Cut(start_s, knot_s, kernel).seconds(column, 4) == pytest.approx(expected, abs=1e-9)

from __future__ import annotations

import math

import pytest

from lightning_energy.ledger.arguments import check_idle, check_switches


@pytest.mark.parametrize("idle_s", [0, 0.0, 10, 1.5])
def test_seconds_are_numbers_from_zero_on(idle_s):
    check_idle(idle_s)


@pytest.mark.parametrize(
    ("idle_s", "error"),
    [(True, TypeError), ("10", TypeError), (None, TypeError), (-1, ValueError), (math.nan, ValueError)],
)
def test_others_are_refused(idle_s, error):
    with pytest.raises(error, match="give seconds from 0 on"):
        check_idle(idle_s)


def test_switches_are_true_or_false():
    check_switches(one=True, other=False)
    with pytest.raises(TypeError, match="other='no': give True or False"):
        check_switches(one=True, other="no")

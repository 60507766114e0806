from __future__ import annotations

import math

import pytest

from lightning_energy.ledger.arguments import check_idle, check_switches, named_arguments


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


class Takes:
    @named_arguments("Takes", lambda _: "max_kwh", {"kwh": ("max_kwh",), "reserve": ("reserve_kwh",)})
    def __init__(self, *, max_kwh=None, max_j=None, reserve_kwh=0.0, idle_s=0.0, mode="max", kwh_per_point=1.0):
        self.max_kwh = max_kwh


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"max_wh": 1}, "write max_kwh=0.001"),
        ({"max_mwh": 1.5}, "write max_kwh=… in kWh"),  # milli or mega?
        ({"reserve_j": 1}, "write reserve_kwh=2.77778e-07"),
        ({"reserve_wh": 500}, "write reserve_kwh=0.5"),
        ({"max_joules": 3.6e6}, "write max_j=3600000.0"),
        ({"max_kj": 2}, "write max_j=2000, in J"),
        ({"maxWh": 1}, "write max_kwh=0.001, in kWh"),
        ({"max_kWh": 1}, "write max_kwh=1"),
        ({"max_wh": "1"}, "write max_kwh=… in kWh"),
        ({"max_khw": 1}, "write max_kwh=1"),
        ({"wh_per_point": 1}, "write kwh_per_point=0.001, in kWh"),
        ({"idle_wh": 1}, "write idle_s=… in s"),
        ({"idle_ms": 500}, "write idle_s=0.5"),
        ({"idle_min": 2}, "write idle_s=120"),
        ({"idle_seconds": 2}, "write idle_s=2"),
        ({"kwh": 2}, "write max_kwh=2"),
        ({"reserve": 2}, "write reserve_kwh=2"),
        ({"mod": "min"}, "write mode='min'"),
    ],
)
def test_a_near_name_changes_no_unit(wrong, says):
    """A value is repeated only with its own unit, or converted."""
    with pytest.raises(TypeError) as told:
        Takes(**wrong)
    assert says in str(told.value)

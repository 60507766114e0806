from __future__ import annotations

import pytest

from lightning_energy.results.readable import duration, percent, scale, si, watt_hours


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 J"), (1.0, "1 J"), (999.0, "999 J"), (1e3, "1 kJ"), (-2500.0, "-2.5 kJ"), (0.0371, "37.1 mJ")],
)
def test_prefixes(value, text):
    assert si(value, "J") == text


def test_the_smallest_and_the_largest_prefix():
    assert si(2.5e-4, "J") == "250 µJ"
    assert si(1e-9, "J") == "0.001 µJ"
    assert si(3.2e12, "J") == "3200 GJ"
    assert scale(3.2e12) == (1e9, "G")


def test_times():
    assert [duration(s) for s in (59.994, 60, 3599, 3600)] == ["59.99 s", "1.0 min", "60.0 min", "1.00 h"]


@pytest.mark.parametrize(
    ("value", "text"), [(712.4, "712 J"), (999.6, "1 kJ"), (0.9996, "1 J"), (3.2e12, "3200 GJ"), (76.3e-3, "76.3 mJ")]
)
def test_three_digits(value, text):
    assert si(value, "J", digits=3) == text


@pytest.mark.parametrize(
    ("joules", "text"),
    [(3.6, "0.001 Wh"), (3.59, "997 µWh"), (3.6e5, "100 Wh"), (3.59e6, "997 Wh"), (3.6e6, "1 kWh"), (0.0, "0 Wh")],
)
def test_watt_hours_have_a_prefix_where_they_need_one(joules, text):
    assert watt_hours(joules) == text


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100 %"), (0.0149, "1 %"), (0.0099, "1.0 %"), (0.001, "0.1 %"), (0.0009, "< 0.1 %")]
)
def test_percent(share, text):
    assert percent(share) == text

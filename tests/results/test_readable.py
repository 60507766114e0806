from __future__ import annotations

import pytest

from lightning_energy.results.readable import duration, scale, si


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

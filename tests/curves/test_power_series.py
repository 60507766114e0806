from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_energy.curves import power_series
from lightning_energy.curves.curve import Curve
from lightning_energy.curves.energy import Energy
from lightning_energy.curves.power_series import MOST_BINS, PowerSeries, ThinnedPower
from lightning_energy.results.figures import Device
from lightning_energy.results.node import DamagedError, Node
from lightning_energy.results.parse import power_of
from tests.ledger.plays import INFO, START, S

MS = 10**6


def curve_of(*intervals: tuple[int, float | None]) -> Curve:
    """A curve of intervals: milliseconds and watts; ``None`` is missing."""
    curve, time_ns, energy_j = Curve(INFO), START, 0.0
    curve.add(time_ns, energy_j)
    for ms, power_w in intervals:
        time_ns += ms * MS
        energy_j += ms / 1000 * (power_w or 0.0)
        curve.add(time_ns, energy_j, quality="missing" if power_w is None else "measured")
    return curve


def thinned(curve: Curve, *cuts: int) -> PowerSeries:
    """The series of a curve that was booked up to knots of these numbers, then to its end."""
    power, knots = ThinnedPower(), curve.knots()
    for cut in (*cuts, len(knots.time_ns)):
        power.add(knots.part(slice(cut)))
    series = power.series()
    assert series is not None
    return series


def test_bins_hold_the_joules_and_what_is_missing_is_null():
    # 100 W for 30 ms, nothing known for 50 ms, 200 W for 10 ms: bins of 20 ms
    series = thinned(curve_of((30, 100.0), (50, None), (10, 200.0)))
    assert (series.start_ns, series.bin_s) == (START, 0.02)
    assert series.mean_w == (100.0, 100.0, None, None, 200.0)
    assert series.known == ((1, 0.01), (4, 0.01))
    assert series.energy_j == pytest.approx(5.0)
    wide = series.coarser()
    assert (wide.bin_s, wide.mean_w) == (0.04, (100.0, None, 200.0))
    assert (wide.known, wide.energy_j) == (((0, 0.03), (2, 0.01)), pytest.approx(5.0))


def test_an_interval_longer_than_a_bin_is_in_all_of_its_bins():
    series = thinned(curve_of((50, 100.0), (30, 300.0)))
    assert series.mean_w == (100.0, 100.0, 200.0, 300.0)
    assert series.known == ()


INTERVALS = st.lists(st.tuples(st.integers(1, 20_000), st.none() | st.floats(0.0, 700.0)), min_size=2, max_size=60)


@given(INTERVALS, st.data())
@settings(max_examples=25, deadline=None)
def test_joules_are_kept_in_few_bins_however_they_come(intervals, data):
    curve = curve_of(*intervals)
    cuts = data.draw(st.lists(st.integers(0, len(intervals)), max_size=4).map(sorted))
    with patch.object(power_series, "MOST_WAITING", data.draw(st.sampled_from([0, 3, 1000]))):
        once, often = thinned(curve), thinned(curve, *cuts)
    assert len(once.mean_w) <= MOST_BINS
    assert (often.bin_s, len(often.mean_w)) == (once.bin_s, len(once.mean_w))
    np.testing.assert_allclose(often.known_s, once.known_s, atol=2e-6)
    length_s = sum(ms for ms, _ in intervals) / 1000
    known_s = sum(ms for ms, power_w in intervals if power_w is not None) / 1000
    for series in (once, often):
        assert series.energy_j == pytest.approx(curve.end_j, rel=1e-4, abs=0.1)
        assert sum(series.known_s) == pytest.approx(known_s, abs=1e-3)
        assert (len(series.mean_w) - 1) * series.bin_s <= length_s <= len(series.mean_w) * series.bin_s + 1e-6
        assert all(0 <= w <= 700.1 for w in series.mean_w if w is not None)
    assert once.coarser().energy_j == pytest.approx(once.energy_j, rel=1e-4, abs=0.1)


def test_a_long_run_takes_no_more_room_and_its_pulses_stay_where_they_were():
    power, curve = ThinnedPower(), Curve(INFO)
    for second in range(20_000):
        watts = 300.0 if 7000 <= second < 8000 else 100.0
        curve.add(START + second * S, 0.0 if not second else curve.end_j + watts)
        if second % 500 == 499:
            power.add(curve.knots())
            curve.forget_before(START + second * S)
    series = power.series()
    assert (series.bin_s, len(series.mean_w)) == (20.48, 977)  # 0.02 s, doubled ten times
    rises = [i for i, (a, b) in enumerate(pairwise(series.mean_w), 1) if b > a + 1]
    assert [i * series.bin_s for i in rises] == pytest.approx([7000, 7000], abs=2 * series.bin_s)
    assert max(series.mean_w) == 300.0
    assert series.energy_j == pytest.approx(19_999 * 100 + 1000 * 200, rel=1e-5)


FULL = PowerSeries(START, 0.02, (100.0, None, 3.25), ((2, 0.004),), ((START, 10**18), (START + S, 10**18 + S)))


def test_a_series_comes_back_from_plain_types():
    assert power_of(Node(json.loads(json.dumps(FULL.to_plain())))) == FULL


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"bin_s": 0.0}, r"bin_s=0.0 is not the width of a bin in seconds"),
        ({"mean_w": [1.0, -2.0]}, r"mean_w\[1\]=-2.0 is not a finite number from 0 on"),
        ({"mean_w": [True]}, r"mean_w\[0\]=True is not"),
        ({"known": [[3, 0.1]]}, r"known\[0\]\[0\]=3 is not the number of one of 3 bins"),
        ({"known": [[1]]}, r"known\[0\]=\[1\] is not the number of a bin and seconds"),
        ({"clock": []}, r"clock=\[\] is not a row of rising moments"),
        ({"clock": [[5, 1], [5, 2]]}, "clock=.* is not a row of rising moments"),
    ],
)
def test_what_is_wrong_is_named(change, text):
    with pytest.raises(DamagedError, match=text):
        power_of(Node(FULL.to_plain() | change))


def test_what_is_known_in_part_counts_for_its_part():
    assert FULL.known_s == [0.02, 0.0, 0.004]
    assert FULL.energy_j == pytest.approx(100 * 0.02 + 3.25 * 0.004)
    assert replace(FULL, known=()).energy_j == pytest.approx(103.25 * 0.02)


def test_the_highest_power_is_of_a_bin_that_is_known():
    assert FULL.highest_w == 100.0
    assert replace(FULL, mean_w=(100.0, None, 900.0)).highest_w == 100.0  # a fifth of its bin is known
    assert replace(FULL, mean_w=(None,), known=()).highest_w is None
    device = Device("GPU", "GPU-1", "gpu", Energy.unknown(1.0), 0.02, power=PowerSeries(0, 0.02, (100.0, 300.0) * 5))
    assert device.power_to_read.mean_w == (200.0, 200.0)  # 0.16 s: five updates of 20 ms take 0.1 s


def test_knots_that_a_thread_adds_while_the_series_is_asked_for_stay(monkeypatch):
    """A thread books while the training asks for the power: neither waits for the other."""
    knots, power, extended = curve_of(*[(20, 100.0)] * 6).knots(), ThinnedPower(), power_series._extended
    power.add(knots.part(slice(3)))

    def meanwhile(*args):
        monkeypatch.setattr(power_series, "_extended", extended)
        power.add(knots.part(slice(2, 5)))
        return extended(*args)

    monkeypatch.setattr(power_series, "_extended", meanwhile)
    assert power.series().energy_j == pytest.approx(4.0)
    power.add(knots.part(slice(4, 7)))
    assert power.series().mean_w == (100.0,) * 6

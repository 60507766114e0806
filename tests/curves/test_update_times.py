from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_energy.curves.update_times import UpdateLine

S = 10**9
BEGIN_NS = 10**15
PERIOD_NS = S // 10


def line_of(updates, *, half_ns: int = 500_000, jitter_ns: float = 0.0, period_ns: int = PERIOD_NS) -> UpdateLine:
    line, rng = UpdateLine(), random.Random(0)
    for k in updates:
        line.add(BEGIN_NS + k * period_ns + round(rng.gauss(0.0, jitter_ns)), half_ns)
    return line


def test_nothing_is_said_before_there_is_a_line():
    line = line_of([0])
    assert (line.period_ns, line.residual_ns, line.edges) == (None, math.inf, 1)
    assert line.next_ns(BEGIN_NS) is None
    assert line.stray_ns(BEGIN_NS) == 0.0
    assert not line.is_longer(S)
    rough = line_of(range(4))
    assert rough.period_ns == pytest.approx(PERIOD_NS)
    assert not rough.is_fitted
    assert rough.next_ns(BEGIN_NS) is None


@pytest.mark.slow
@given(st.integers(1_000_000, S), st.sets(st.integers(0, 60), min_size=16))
def test_the_period_is_found_though_updates_are_skipped(period_ns, more):
    """The first edges follow each other; later ones are counted by the period."""
    updates = [*range(8), *(8 + k for k in sorted(more))]
    line = line_of(updates, period_ns=period_ns)
    assert line.is_fitted
    assert line.period_ns == pytest.approx(period_ns, rel=1e-6)
    last_ns = BEGIN_NS + updates[-1] * period_ns
    assert line.next_ns(last_ns) == pytest.approx(last_ns + period_ns, abs=10)
    assert line.stray_ns(last_ns + period_ns // 4) == pytest.approx(period_ns // 4, abs=10)
    updates, last_update_ns = line.updates(last_ns + 0.5 * period_ns, last_ns + 2.5 * period_ns)
    assert (updates, last_update_ns) == (2, pytest.approx(last_ns + 2 * period_ns, abs=10))
    assert line.updates(last_ns + 0.2 * period_ns, last_ns + 0.8 * period_ns)[0] == 0


def test_a_prediction_is_less_sure_away_from_the_edges():
    line = line_of(range(64), jitter_ns=1e6)
    middle_ns, end_ns = BEGIN_NS + 32 * PERIOD_NS, BEGIN_NS + 64 * PERIOD_NS
    assert 5e5 < line.residual_ns < 2.5e6
    assert line.residual_ns < line.half_ns(middle_ns) < line.half_ns(end_ns) < line.half_ns(end_ns + 10 * S)


def test_sharp_edges_count_for_more_than_rough_ones():
    line = UpdateLine()
    for k in range(32):
        is_rough = k % 2
        line.add(BEGIN_NS + k * PERIOD_NS + 20_000_000 * is_rough, 25_000_000 if is_rough else 100_000)
    assert line.stray_ns(BEGIN_NS + 32 * PERIOD_NS) < 200_000


@pytest.mark.parametrize(("stray_ns", "is_within"), [(0, True), (200_000, True), (1_000_000, False)])
@pytest.mark.parametrize("half_ns", [500_000, 3_500_000])
def test_a_line_says_when_its_edges_stray_no_further_than_they_were_seen(stray_ns, is_within, half_ns):
    """Updates that are late by up to twice ``stray_ns``, each seen within a bracket that holds it anywhere."""
    rng, line = random.Random(1), UpdateLine()
    stray_ns = stray_ns * half_ns // 500_000
    for k in range(64):
        update_ns = BEGIN_NS + k * PERIOD_NS + rng.randint(0, 2 * stray_ns)
        line.add(update_ns + rng.randint(-half_ns, half_ns), half_ns)
    assert line.is_within is is_within
    line.restart()
    assert not line.is_within


@pytest.mark.parametrize("changes", [-1e-3, 1e-3])
def test_a_line_whose_updates_bend_goes_through_the_later_half_and_is_watched(changes):
    """Else it went through minutes of them, and the last lay further from it than four in five do."""
    rng, line, time_ns, trusted = random.Random(3), UpdateLine(), BEGIN_NS, []
    for k in range(150):
        time_ns += round(8 * PERIOD_NS * (1.0 + changes * max(k - 75, 0) / 75))  # one in eight is seen
        line.add(time_ns + rng.randint(-500_000, 500_000), 500_000)
        if k == 75:
            assert (line.edges, line.is_within) == (64, True)
        elif k > 100:
            trusted.append(line.is_within)
            assert line.edges < 48
            assert line.stray_ns(time_ns) < 2_500_000
    assert not any(trusted)
    line.restart()
    for k in range(20):
        line.add(time_ns + k * PERIOD_NS, 500_000)
    assert line.is_within


def test_a_prediction_is_less_sure_where_the_updates_may_bend():
    bent = UpdateLine()
    for k in range(64):
        bent.add(BEGIN_NS + k * PERIOD_NS + 150 * (k - 32) ** 2 + 400_000 * (-1) ** (k // 2), 500_000)
    straight = UpdateLine()
    for k in range(64):
        straight.add(BEGIN_NS + k * PERIOD_NS + 400_000 * (-1) ** (k // 2), 500_000)
    assert bent.edges == straight.edges == 64
    later_ns = BEGIN_NS + 72 * PERIOD_NS
    assert bent.half_ns(later_ns) > 1.1 * straight.half_ns(later_ns)


@pytest.mark.parametrize("updates", ["slow_updates", "fast_updates"])
def test_the_updates_of_a_real_board_keep_to_their_line(updates):
    """As an H200 made them under changing loads, each seen between two calls of milliseconds (benchmarks/gpu.py)."""
    results = Path(__file__).parents[2] / "benchmarks/results/gpu-h200.json"
    line = UpdateLine()
    for low_s, high_s, _ in json.loads(results.read_text())["counter"]["raw"][updates]:
        line.add(BEGIN_NS + round((low_s + high_s) / 2 * S), round((high_s - low_s) / 2 * S))
    assert line.is_within
    assert line.period_ns == pytest.approx(PERIOD_NS, rel=2e-4)


def test_a_restart_keeps_the_period_only():
    line = line_of(range(20))
    line.restart()
    assert line.edges == 0
    assert not line.is_fitted
    assert line.period_ns == pytest.approx(PERIOD_NS)


def test_a_line_that_knows_its_period_believes_in_a_longer_one_at_the_third_sign():
    line, now_ns = line_of(range(20)), BEGIN_NS + 19 * PERIOD_NS
    for longer in range(1, 4):
        assert line.is_longer(13 * PERIOD_NS // 10)
        now_ns += 14 * PERIOD_NS // 10
        line.add(now_ns, 500_000, still_ns=13 * PERIOD_NS // 10)
        assert (line.edges == 1) == (longer == 3)
    assert line.period_ns == pytest.approx(1.3 * PERIOD_NS)


def test_a_late_update_is_no_longer_period():
    line, now_ns = line_of(range(20)), BEGIN_NS + 19 * PERIOD_NS
    for k in range(20):
        now_ns += PERIOD_NS
        line.add(now_ns, 500_000, still_ns=13 * PERIOD_NS // 10 if k % 5 == 0 else 0)
    assert line.period_ns == pytest.approx(PERIOD_NS, rel=1e-3)


@pytest.mark.parametrize(("still_ns", "period_ns"), [(0, PERIOD_NS // 2), (9 * PERIOD_NS // 10, PERIOD_NS)])
def test_a_first_guess_that_is_too_short_is_raised_once_the_register_is_seen_standing_still(still_ns, period_ns):
    """Edges that were seen roughly fit half the period as well."""
    line = UpdateLine()
    for seen_ms in (45, 105, 245):
        line.add(BEGIN_NS + seen_ms * 10**6, 45_000_000)
    assert line.period_ns < 0.8 * PERIOD_NS
    for k in range(3, 24):
        line.add(BEGIN_NS + k * PERIOD_NS, 500_000, still_ns)
    assert line.period_ns == pytest.approx(period_ns, rel=0.02)


def test_a_period_is_as_unsure_as_the_register_was_seen_to_move_and_to_stand_still():
    """Two moves that were seen sharply, with a second between them, may be one update apart, or ten."""
    line = UpdateLine()
    line.add(BEGIN_NS, S // 1000)
    line.add(BEGIN_NS + S, S // 1000, still_ns=S // 20, lasted_ns=S)
    assert line.period_half_ns >= 0.9 * S
    assert line.oldest_ns == S
    line.add(BEGIN_NS + S + S // 10, S // 1000, still_ns=S // 12, lasted_ns=S // 9)
    assert S // 12 <= line.period_ns <= S // 9
    assert line.oldest_ns == S // 9


def test_a_good_line_says_better_than_polls_how_old_a_value_may_be():
    assert line_of(range(20)).oldest_ns == 0.0


def test_a_single_interval_may_be_as_long_and_as_short_as_others_were():
    line = line_of(range(20))
    assert line.interval_half_ns == line.period_half_ns
    line.add(BEGIN_NS + 22 * PERIOD_NS, 500_000, still_ns=round(1.9 * PERIOD_NS), lasted_ns=round(2.1 * PERIOD_NS))
    assert line.interval_half_ns == pytest.approx(0.9 * PERIOD_NS, rel=0.01)
    line.limits.forget_intervals()
    assert line.interval_half_ns == line.period_half_ns
    line.add(BEGIN_NS + 22 * PERIOD_NS + PERIOD_NS // 2, 500_000, still_ns=0, lasted_ns=round(0.5 * PERIOD_NS))
    assert line.interval_half_ns == pytest.approx(0.5 * PERIOD_NS, rel=0.1)

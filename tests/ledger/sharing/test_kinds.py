from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lightning_energy.ledger.sharing.kernel import AT_ONCE
from lightning_energy.ledger.sharing.kinds import Rule, find_kinds
from lightning_energy.ledger.sharing.stretch import Stretch
from lightning_energy.ledger.sharing.timeline import Timeline
from tests.sim.virtual_run import Sensor, Work, play

STEP = 0  # the one class
TURNS = Work(epochs=4, train_s=4.0, validate_s=0.0, step_s=0.05, kinds=((1.3, 1.0), (0.5, 1.0)))


def steps(watts, seconds, *, n=240, period_s=0.1, spread=0.02, seed=0):
    """Steps in turns of some powers and durations, and the intervals of a counter."""
    rng = np.random.default_rng(seed)
    duration_s = np.resize(seconds, n) * (1 + 0.03 * rng.standard_normal(n))
    joules = duration_s * np.resize(watts, n) * (1 + spread * rng.standard_normal(n))
    start_s = np.concatenate([[0.0], np.cumsum(duration_s)])
    knot_s = np.arange(0.01, start_s[-1], period_s)
    rise_j = np.diff(np.interp(knot_s, start_s, np.concatenate([[0.0], np.cumsum(joules)])))
    timeline = Timeline(start_s[:-1], np.full(n, STEP), 1)
    zeros = np.zeros(len(knot_s))
    return Stretch(knot_s, rise_j, zeros, np.ones(len(rise_j), dtype=bool), timeline, np.array([0]))


def found(watts, seconds, **wanted):
    stretch = steps(watts, seconds, **wanted)
    number = np.arange(len(stretch.classes.column))
    return find_kinds(stretch, AT_ONCE, number, [STEP], lambda: None)


@pytest.mark.parametrize(
    ("watts", "seconds", "every", "kinds"),
    [
        ([300.0, 120.0], [0.037], 2, (0, 1)),
        ([300.0, 200.0, 100.0], [0.037], 3, (0, 1, 2)),
        ([300.0] * 7 + [100.0], [0.037], 8, (0,) * 7 + (1,)),  # gradients are accumulated: every eighth is another
    ],
)
def test_steps_in_turns_are_told_by_their_number(watts, seconds, every, kinds):
    kinds_found = found(watts, seconds)
    (rule,) = kinds_found.rules
    assert (rule.every, rule.kinds, rule.limits_s) == (every, kinds, ())
    assert kinds_found.untold == 0.0


def test_long_and_short_steps_are_told_by_their_duration_in_any_order():
    order = np.random.default_rng(1).permutation(np.arange(240) % 2)
    (rule,) = found(np.array([300.0, 120.0])[order], np.array([0.05, 0.03])[order]).rules
    assert (rule.every, rule.n) == (0, 2)
    assert rule.limits_s == pytest.approx([np.sqrt(0.05 * 0.03)], rel=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_steps_of_one_kind_stay_one(seed):
    one = found([300.0], [0.037], seed=seed, spread=0.1)
    assert one.rules == ()
    assert 0 < one.untold < 0.15
    assert found([300.0, 300.0], [0.05, 0.03], seed=seed).rules == ()  # they last longer, and draw as much


def test_what_data_cannot_tell():
    """Steps whose pairs last exactly a period: each interval holds one of both."""
    rng_free = steps([300.0, 120.0], [0.05], spread=0.0)
    start_s = np.arange(240) * 0.05
    knot_s = np.arange(0.01, 11.9, 0.1)
    stretch = rng_free._replace(
        knot_s=knot_s,
        rise_j=np.full(len(knot_s) - 1, 21.0),
        half_s=np.zeros(len(knot_s)),
        is_known=np.ones(len(knot_s) - 1, dtype=bool),
        classes=Timeline(start_s, np.zeros(240, dtype=np.int64), 1),
    )
    kinds = find_kinds(stretch, AT_ONCE, np.arange(240), [STEP], lambda: None)
    assert kinds.rules == ()
    assert not kinds.is_told
    assert kinds.untold > 0.05  # though the rises do not scatter at all
    assert find_kinds(stretch, AT_ONCE, np.arange(240), [], lambda: None).rules == ()


def test_the_kind_of_a_step():
    number, duration_s = np.array([0, 1, 2, 5]), np.array([0.01, 0.02, 0.05, np.nan])
    assert Rule(3, every=3, kinds=(0, 0, 1)).of(number, duration_s).tolist() == [0, 0, 1, 1]
    assert Rule(3, limits_s=(0.02, 0.04)).of(number, duration_s).tolist() == [0, 1, 2, 0]
    assert (Rule(3, every=3, kinds=(0, 0, 1)).n, Rule(3, limits_s=(0.02, 0.04)).n) == (2, 3)


@pytest.mark.parametrize("kinds", [TURNS.kinds, ((1.2, 1.3), (0.6, 0.7))])
def test_single_steps_of_two_kinds_have_the_energy_of_their_kind(kinds):
    """Steps of 50 ms on a counter that moves every 20 ms: by straight lines they are 10 % off, and always alike."""
    run = play(3, replace(TURNS, kinds=kinds), Sensor(update_s=0.02))
    is_step = np.array(run.kind) == "single step"
    error = (run.found_j / run.true_j - 1)[is_step]
    late = error[len(error) // 2 :]  # by then the kinds are known
    assert np.sqrt(np.mean(late**2)) < 0.05
    of_line = (run.line_j / run.true_j - 1)[is_step]
    assert np.sqrt(np.mean(of_line**2)) > 0.08
    within = np.abs(run.found_j - run.true_j)[is_step][len(error) // 2 :] <= 2 * run.u_j[is_step][len(error) // 2 :]
    assert within.mean() > 0.93
    assert np.abs(run.booked_j / run.rise_j - 1).max() < 1e-9


@pytest.mark.parametrize("lag_s", [0.06, 0.1, 0.13])
def test_kinds_in_turns_are_found_behind_a_late_counter(lag_s):
    """By the delay that explains them best as one kind, they look like one: gaps took a third of a step's joules."""
    work = Work(epochs=1, train_s=9.0, validate_s=0.3, step_s=0.15, kinds=((1.0, 1.0), (0.4, 2.2)))
    for seed in range(3):
        result = play(seed, work, Sensor(update_s=0.1, lag_s=lag_s))
        z = [(f - t) / u for k, f, u, t in zip(result.kind, result.found_j, result.u_j, result.true_j, strict=True)]
        assert result.ledger.books[0].sharing.rules
        assert max(abs(each) for each, kind in zip(z, result.kind, strict=True) if kind == "step/gap") < 2.5

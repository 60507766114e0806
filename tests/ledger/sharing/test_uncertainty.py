"""What counters do not show, and when they are looked at, in the uncertainty of what is shared out."""

import numpy as np
import pytest

from lightning_energy.ledger.sharing.contents import SMOOTHED
from lightning_energy.ledger.sharing.delay import EXACT
from lightning_energy.ledger.sharing.kernel import Kernel
from lightning_energy.ledger.sharing.split import Columns, Split
from lightning_energy.ledger.sharing.stretch import Stretch
from lightning_energy.ledger.sharing.timeline import Timeline
from tests.sim.virtual_run import Sensor, Work, play
from tests.sim.watched import by_channels

STAGES = np.array([0, 1, 2, 3])


def test_a_sensor_that_does_not_smooth_shows_all_of_the_scatter():
    assert Kernel(lag_s=0.05).shown_scatter(0.02) == 1.0


def test_a_smoothing_sensor_hides_scatter_of_power():
    """White noise behind a first-order lag of 50 ms, summed over 20 ms."""
    rng, dt_s, ema_s = np.random.default_rng(0), 0.001, 0.05
    noise = rng.standard_normal(400_000)
    smooth, level = np.empty_like(noise), 0.0
    for k, x in enumerate(noise):
        level += (x - level) * dt_s / (ema_s + dt_s / 2)
        smooth[k] = level
    seen, true = (x.reshape(-1, 20).sum(axis=1).var() for x in (smooth, noise))
    assert Kernel(ema_s=ema_s).shown_scatter(0.02) == pytest.approx(seen / true, rel=0.1)


def split_of(kernel, knot_s, rise_j, start_s, column):
    """Accounts 0 to 2 of classes 1 to 3."""
    timeline = Timeline(np.array(start_s), np.array(column), 3)
    columns = Columns(np.arange(3), np.arange(1, 4))
    knot_s, rise_j = np.array(knot_s), np.array(rise_j)
    classes = Timeline(timeline.start_s, columns.of_class[timeline.column], 4)
    known = np.ones(len(rise_j), dtype=bool)
    stretch = Stretch(knot_s, rise_j, np.full(len(knot_s), 0.001), known, classes, STAGES)
    split = Split([kernel])
    split.add(stretch, columns, timeline, slice(0, len(rise_j)), None)
    return split


def test_what_a_late_look_at_an_update_moves_is_the_turn_of_the_shares():
    """A cut at a quarter of the second interval: each of its updates moves its share's turn of 100 W times 1 ms."""
    split = split_of(Kernel(), [0.0, 1.0, 2.0, 3.0], [100.0, 100.0, 100.0], [-1.0, 1.25], [0, 1])
    e2 = 100.0**2 * 0.001**2 / 3
    for wanted in ([True, False, False], [False, True, False]):
        _, edge, _ = split.pairs.within(np.array(wanted))
        assert edge == pytest.approx(e2 * (0.75**2 + 0.25**2))
    _, edge, _ = split.pairs.within(np.array([True, True, False]))
    assert edge == pytest.approx(0.0, abs=1e-15)


def test_accounts_of_a_part_time_sensor_add_up_to_its_counter():
    """Whatever the powers are."""
    rng = np.random.default_rng(1)
    start_s = np.concatenate([[-1.0], np.sort(rng.uniform(0, 2, 60))])
    column = rng.integers(0, 3, 61)
    knot_s = np.arange(0.0, 2.05, 0.1)
    rise_j = rng.uniform(10, 30, len(knot_s) - 1)
    split = split_of(Kernel(look=0.25), knot_s, rise_j, start_s, column)
    power_w = np.array([0.0, 300.0, 90.0, 120.0])
    total_j = split.line_j[0].sum() + sum(block.d.sum(axis=0) @ power_w for block in split.blocks)
    assert total_j == pytest.approx(rise_j.sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("rise_j", "unit_j"),
    [
        ([30.0, 12.1, 29.9, 20.6], 0.1),  # whole watts for 0.1 s
        ([30.001, 12.104, 29.902, 20.603], 0.001),
        ([30.0, 30.0, 30.0, 30.0], 0.0),  # a steady load, which tells nothing
        ([30.0 + 1e-4, 12.1, 29.9, 20.6], 0.001),  # no millijoules at all
    ],
)
def test_the_unit_of_a_counter_is_what_divides_all_rises(rise_j, unit_j):
    split = split_of(Kernel(), [0.0, 0.1, 0.2, 0.3, 0.4], rise_j, [-1.0], [0])
    assert split.rounding_j2 == pytest.approx(unit_j**2 / 12)


def test_what_a_smoothing_sensor_leaves_open_is_an_integral_of_weights():
    """Energy at s counts by 1 - exp((s - t - 1)) when read one time constant after t, and should count until t."""
    s = np.linspace(-30, 1, 310_001)
    weight = 1 - np.exp(s - 1) - (s < 0)
    assert np.trapezoid(weight**2, s) == pytest.approx(SMOOTHED, rel=1e-3)


@pytest.mark.parametrize("lag_s", [0.0, 0.2])
def test_steps_are_told_by_the_counters_delay(lag_s):
    """A counter that is 200 ms late is not worse for steps than one that is not late."""
    run = play(5, Work(epochs=3), Sensor(lag_s=lag_s))
    steps = np.flatnonzero(np.array(run.kind) == "single step")[len(run.kind) // 2 :]  # once the delay is known
    error = (run.found_j / run.true_j - 1)[steps]
    assert np.sqrt(np.mean(error**2)) < 0.08


@pytest.mark.slow
def test_single_steps_of_boards_that_do_the_same_steps():
    """What a step draws more than others it draws on all boards; each counter's updates have times of their own."""
    run = play(5, Work(epochs=8, watts=(60.0, 390.0, 150.0, 230.0, 60.0)), Sensor(), boards=4, watch=by_channels())
    steps = np.flatnonzero(np.array(run.kind) == "single step")[200:]  # once the delay is known
    share = np.abs(run.found_j - run.true_j)[steps] / run.u_j[steps]
    assert 0.55 <= np.mean(share <= 1) <= 0.88
    assert np.mean(share <= 2) >= 0.93


def test_that_a_sensor_looks_part_time_is_no_last_word_before_all_that_is_held_is_seen():
    assert EXACT.is_enough
    assert not EXACT._replace(kernel=Kernel(look=0.25)).is_enough

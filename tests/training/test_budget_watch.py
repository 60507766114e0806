"""When ranks look at what they have spent, in virtual time."""

from __future__ import annotations

from functools import partial

import pytest

from lightning_energy.ledger.ranks import Ranks
from lightning_energy.scores.budget_rule import Budget
from lightning_energy.training.budget_watch import BudgetWatch
from lightning_energy.training.spent_joules import Spending
from tests.training.parts import two_ranks


class Device:
    """A device in virtual time, whose energy is known at once; it counts how often it was asked."""

    def __init__(self, power_w: float) -> None:
        self.power_w, self.spent_j, self.ns, self.asked = power_w, 0.0, 0, 0

    def step(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)
        self.spent_j += self.power_w * seconds

    def now(self) -> Spending:
        self.asked += 1
        return Spending(self.spent_j, self.power_w, 0)


def watch_of(device: Device, budget: Budget, ranks: Ranks, before_j: float = 0.0) -> BudgetWatch:
    return BudgetWatch(budget, ranks, device.now, before_j, clock=lambda: device.ns)


def train(watch: BudgetWatch, device: Device, step_s: float) -> int:
    """Step until the budget is reached; the number of steps."""
    for step in range(1, 20_000):
        device.step(step_s)
        if watch.after_step() and watch.is_reached:
            return step
    raise AssertionError


def test_one_rank_stops_at_the_step():
    device = Device(200.0)
    assert train(watch_of(device, Budget(1000.0), Ranks()), device, step_s=0.03) == 167  # 6 J each
    assert device.asked < 40
    device = Device(200.0)
    assert train(watch_of(device, Budget(100_000.0), Ranks()), device, step_s=0.03) == 16_667
    assert device.asked < 16_667 / 60 + 40  # every 2 s, 67 steps, and closer at the end


def test_one_rank_stops_at_the_step_though_the_power_rises():
    """By a hundredth a step: after each it is less than four times what it was at the last look."""
    device = Device(50.0)
    watch = watch_of(device, Budget(3000.0), Ranks())
    while not watch.is_reached:
        before_j = device.spent_j
        device.power_w *= 1.01
        device.step(0.05)
        watch.after_step()
    assert before_j < 3000.0 <= device.spent_j


def test_earlier_sessions_count():
    device = Device(200.0)
    assert train(watch_of(device, Budget(1000.0), Ranks(), before_j=900.0), device, step_s=0.05) == 10


def test_two_ranks_look_every_two_seconds_and_stop_at_the_step():
    """Two devices of 100 W: 2 J per step of 10 ms."""
    device = Device(100.0)
    watch = watch_of(device, Budget(3000.0), two_ranks())
    assert train(watch, device, step_s=0.01) == 1500
    assert watch.agreed.spent_j == pytest.approx(3000.0)
    assert device.asked == 1 + 7 + 6 + 1  # 1, 3, 7, … 255, then every 200: 455 … 1455, then the expected end at 1500


def test_a_power_that_rises_overshoots_by_no_more_than_what_lies_between_two_looks():
    device = Device(50.0)
    watch, looks = watch_of(device, Budget(3000.0), two_ranks()), [0.0]
    while not watch.is_reached:
        device.power_w *= 1.002
        device.step(0.02)
        if watch.after_step():
            looks.append(watch.agreed.spent_j)
    assert len(looks) > 8
    assert looks[-2] < 3000.0 <= looks[-1]
    assert looks[-1] - 3000.0 <= looks[-1] - looks[-2] <= 2 * device.power_w * 2.0


def test_a_validation_between_two_looks_is_no_step():
    device = Device(100.0)
    watch = watch_of(device, Budget(1e6), two_ranks())
    for _ in range(500):
        device.step(0.01)
        watch.after_step()
    device.step(60.0)
    watch.look()
    asked = device.asked
    for _ in range(200):
        device.step(0.01)
        watch.after_step()
    assert device.asked - asked == 1


def test_between_looks_the_power_of_others_goes_on():
    device = Device(100.0)
    watch = watch_of(device, Budget(1e6), two_ranks(), before_j=50.0)
    watch.look()
    device.step(1.5)
    assert watch.spent_j() == pytest.approx(50.0 + 150.0 + 150.0)


def test_a_rank_without_joules_knows_no_scale():
    device = Device(100.0)
    watch = watch_of(device, Budget(1e6), two_ranks(), before_j=50.0)
    watch.look()
    assert watch.scale is None
    device.step(1.0)
    watch.look()
    assert watch.scale == 2.0


def test_a_defect_on_a_rank_leaves_no_other_waiting():
    """What it had spent until then counts."""
    device = Device(100.0)
    watch = watch_of(device, Budget(1e6), two_ranks())
    device.step(1.0)
    watch.look()
    watch._now = partial(divmod, 1, 0)
    watch.look()
    assert watch.agreed == (200.0, 0.0, 2)

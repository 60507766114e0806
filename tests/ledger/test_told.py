from __future__ import annotations

import numpy as np
import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.ledger.sharing.delay import EXACT, Found
from lightning_energy.ledger.sharing.kernel import Kernel
from lightning_energy.ledger.sharing.powers import Powers
from lightning_energy.ledger.sharing.sharing import Sharing
from lightning_energy.ledger.told import energy_at_marks
from tests.ledger.plays import INFO, START, S
from tests.ledger.test_held import held_of
from tests.sim.virtual_run import Sensor, Work, play

STAGE = np.array([0, 1, 2, 3])
POWERS = Powers(np.array([[100.0, 100.0, 160.0, 40.0]]), np.zeros((4, 4)), 0.0, 100.0, 0.0, 9)


def half_past(held):
    """The same with its marks half a second later."""
    return held._replace(time_ns=held.time_ns + S // 2)


def told(held, powers=None, found=EXACT, **kwargs):
    which = slice(0, len(held.time_ns))
    sharing = Sharing(found, powers, untold=kwargs.get("untold", 0.0))
    return energy_at_marks(held, which, STAGE, sharing, bounds_w=kwargs.get("bounds_w", (0.0, 400.0)))


def test_no_marks():
    assert told(held_of("mm")).energy_j.size == 0


def test_by_straight_lines():
    found = told(half_past(held_of("m-m", [(0, 5, 2), (1, 6, 3), (2, 5, 2)])))
    assert found.energy_j == pytest.approx([50.0, 100.0, 150.0])
    assert found.missing_s == pytest.approx([0.0, 0.5, 1.0])
    assert found.variance_j2 == pytest.approx([2500.0 / 3, 0.0, 2500.0 / 3])


def test_by_powers():
    """Each second has 100 J; half of it at 160 W, half at 40 W where a mark lies in the middle."""
    found = told(half_past(held_of("mmm", [(0, 5, 2), (1, 6, 3), (2, 5, 2)])), POWERS)
    # first second: 100 W, then 160 W: beside 130 J of the model 30 J are too many, 15 J by its middle
    assert found.energy_j == pytest.approx([50.0 - 15.0, 100.0 + 80.0, 200.0 + 20.0])
    assert (found.variance_j2 > 0).all()  # of the delay, here a millisecond


def test_by_a_late_counter():
    late = Found(Kernel(lag_s=0.5), np.diag([1e-6, 1e-10]))
    held = held_of("mmm", [(1, 5, 2)])
    assert told(half_past(held), None, late).energy_j == pytest.approx([200.0])  # the knot at 2 s shows it
    assert told(half_past(held), POWERS, late).energy_j == pytest.approx([200.0])


def test_kinds_that_nothing_tells_are_in_the_uncertainty_of_steps():
    """Of 100 W a fifth, for the half second to the next update, which ends what is not known."""
    held = half_past(held_of("mmm", [(0, 5, 2), (1, 6, 3), (2, 5, 2)]))
    more_j2 = told(held, POWERS, untold=0.2).variance_j2 - told(held, POWERS).variance_j2
    assert more_j2 == pytest.approx([100.0] * 3)


def test_energy_never_falls():
    wild = POWERS._replace(power_w=np.array([[0.0, 0.0, 0.0, 400.0]]))
    found = told(half_past(held_of("mmm", [(0, 5, 3), (1, 6, 2), (2, 5, 3)])), wild)
    assert (np.diff(found.energy_j) >= 0).all()


def test_no_step_is_made_of_a_delay_that_becomes_known():
    """Steps of 30 J and 50 J-s of a counter that is 200 ms late: none has the 60 J that were shown late."""
    curve, now = Curve(INFO), [START]
    ledger = Ledger([curve], clock=lambda: now[0])
    step, validate = ledger.code(0, "train", "step"), ledger.code(0, "validate", "step")
    events = [(x, 1) for x in np.arange(0.037, 14.0, 0.1)] + [(x, 2) for x in np.arange(0.5, 14.0, 0.5)]
    starts = [0.0]
    for turn in range(10):
        events += [(1 + turn * 1.3 + 0.1 * k, 3) for k in range(10)] + [(2 + turn * 1.3, 4)]
        starts += [1 + turn * 1.3, 2 + turn * 1.3]
    starts = np.array(starts)
    watts = np.array([60.0, *[300.0, 120.0] * 10])
    steps = []
    for x, what in sorted(events):
        now[0] = START + round(x * S)
        if what == 1:
            spent_s = np.clip(x - 0.2 - starts, 0, np.append(np.diff(starts), 99.0))
            curve.add(now[0], float(spent_s @ watts), half_width_ns=S // 2000)
        elif what == 2:
            ledger.settle()
            steps.append(ledger.take_steps())
        else:
            ledger.mark(step if what == 3 else validate)
    ledger.settle(final=True)
    steps.append(ledger.take_steps())
    joules = np.concatenate([s.energy_j for s in steps if s is not None])
    assert len(joules) == 100
    assert joules.max() < 45.0
    assert joules.min() > 5.0
    assert np.median(joules) == pytest.approx(30.0, rel=0.02)


def test_steps_that_are_told_while_one_goes_on_are_together_the_training():
    """Nobody knows of what kind the step is that has not ended: what is told before it must not depend on that."""
    kinds = (*[(1.0, 1.0)] * 7, *[(0.5, 1.7)] * 4)
    work = Work(epochs=1, train_s=30.0, validate_s=0.0, step_s=0.15, kinds=kinds)
    ledger = play(1, work, Sensor()).ledger
    steps, train = ledger.steps.take_sums(), ledger.totals().energy(stage="train")
    (book,) = ledger.books
    assert [rule.every for rule in book.sharing.rules] == [0]  # told by how long they last
    assert steps.duration_s == pytest.approx(train.duration_s)
    assert abs(steps.energy_j - train.energy_j) < 2 * steps.u2_j2**0.5

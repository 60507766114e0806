"""When the delay of a counter counts as known, and intervals are booked by it for good."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.ledger import booking
from lightning_energy.ledger.how_shared import how_shared
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.ledger.sharing.delay import MOST_HELD
from lightning_energy.meters import ReplayMeter
from tests.ledger.plays import INFO, START, Clock, S
from tests.sim.virtual_run import PHASES, Sensor, Work, play
from tests.sim.watched import by_channels


@pytest.mark.parametrize(
    ("run", "work", "lag_s"),
    [
        ("20 ms: 200 ms steps 1 0", Work(step_s=0.2), 0.0),
        ("20 ms: 200 ms steps 1 1", Work(step_s=0.2), 0.0),
        ("20 ms: 200 ms late 2 1", Work(), 0.2),
    ],
)
def test_the_first_change_of_load_does_not_decide_how_a_counter_smooths(run, work, lag_s):
    """Two seconds of a counter that moves every 20 ms have one change of load: that looks like smoothing by chance."""
    seed = zlib.crc32(run.encode())
    found = play(seed, work, Sensor(update_s=0.02, lag_s=lag_s), settle_s=1.0, watch=by_channels())
    shared = how_shared(found.ledger.totals().fitted(0), found.ledger.classes.names, 0)
    assert (shared.delay_s, shared.smoothing_s) == pytest.approx((lag_s, 0.0), abs=0.002)
    split = np.array(found.kind) == "step/gap"
    assert (np.abs(found.found_j - found.true_j) <= 3 * found.u_j)[split].all()


@pytest.mark.parametrize("begun_s", [-0.001, 0.001])
def test_a_counter_that_seems_early_takes_no_time_from_the_beginning(begun_s):
    """Its updates show what is spent 4 ms later; its curve begins about when the run does."""
    curve = Curve(ReplayMeter(100.0, counter_period_s=0.02).open())
    marks_s = np.arange(0.0, 20.001, 0.25)  # 100 W and 300 W in turns
    now = iter(np.round(1e9 * (1 + marks_s)).astype(np.int64).tolist())
    ledger = Ledger([curve], clock=lambda: next(now))
    for i in range(80):
        ledger.mark(ledger.code(0, "train", "step" if i % 2 == 0 else "gap"))
    ledger.mark(0)
    spent_j = np.concatenate([[0.0], np.cumsum(np.tile([25.0, 75.0], 40))])
    for update_s in np.arange(begun_s, 20.5, 0.02):
        curve.add(round(1e9 * (1 + update_s)), float(np.interp(update_s + 0.004, marks_s, spent_j)))
    ledger.settle(final=True)
    assert ledger.books[0].sharing.lag_ns < 0
    total = ledger.totals(21_000_000_000).energy()
    assert total.duration_s == pytest.approx(20.0, abs=1e-9)
    assert total.missing_s == pytest.approx(max(begun_s, 0.0), abs=0.0041)


def test_the_delay_is_looked_for_longer_where_phases_are_cut():
    """Parts that may draw anything leave it open for longer; a counter beside it is booked for good after 1,024."""
    work = Work(epochs=1, train_s=24.0, validate_s=0.0, step_s=0.05)
    looked = []
    for phases in ((), PHASES):
        (book,) = play(3, replace(work, phases=phases), Sensor(update_s=0.02), settle_s=1.0).ledger.books
        assert bool(book.sharing.parts) == bool(phases)
        looked.append((book.sharing.looked, book.state.held.n))
    (plain, plain_held), (divided, divided_held) = looked
    assert plain <= MOST_HELD + 100
    assert plain_held < 200  # the last seconds
    assert divided == divided_held > MOST_HELD + 100


def test_the_delay_is_looked_for_no_longer_where_many_marks_are_held(monkeypatch):
    """Short steps that are divided into phases: with 1,024 intervals of 100 ms they would take a gigabyte."""
    monkeypatch.setattr(booking, "MOST_MARKS", 3000)
    work = Work(epochs=1, train_s=10.0, validate_s=0.0, step_s=0.01, phases=PHASES)
    result = play(3, work, Sensor(update_s=0.02, lag_s=0.03))
    (book,) = result.ledger.books
    assert book.sharing.is_final
    assert 64 <= book.sharing.looked < MOST_HELD / 2
    assert len(book.state.held.time_ns) < 4000 < book.state.passed
    whole = [k for k, kind in enumerate(result.kind) if kind == "run"]
    for k in whole:
        assert abs(result.found_j[k] - result.true_j[k]) <= 3 * result.u_j[k]


def until_now(seed: int, lag_s: float) -> tuple[float, float, float, float]:
    """Joules of 0.9 s of steps after idle time, their u, the truth, and what a delay makes that is off by its u."""
    rng, idle_s, end_s = np.random.default_rng(seed), 0.7, 1.6
    clock, curve = Clock(), Curve(INFO)
    ledger = Ledger([curve], clock=clock)
    duration_s = np.tile([0.0425, 0.0075], 20) * (1 + 0.03 * rng.standard_normal(40))
    power_w = np.tile([300.0, 90.0], 20) * (1 + 0.05 * rng.standard_normal(40))
    cut_s = np.concatenate([[-1.0], idle_s + np.concatenate([[0.0], np.cumsum(duration_s)])])
    joules = np.concatenate([[0.0], np.cumsum(np.diff(cut_s) * [60.0, *power_w])])
    events = [(s, ("step", "gap")[k % 2]) for k, s in enumerate(cut_s[1:])]
    events += [(s, "") for s in np.arange(0.02 * rng.random(), end_s, 0.02)]
    for at_s, what in sorted(events):
        clock.now_ns = START + round(at_s * S)
        if what and at_s < end_s:
            ledger.mark(ledger.code(0, "train", what))
        elif at_s < end_s:
            curve.add(clock.now_ns, float(np.interp(at_s - lag_s, cut_s, joules)), half_width_ns=1_500_000)
    clock.now_ns = START + round(end_s * S)
    found = ledger.totals().energy()
    assert found.energy_j is not None
    true_j = float(np.diff(np.interp([idle_s, end_s], cut_s, joules))[0])
    u_lag_s = ledger.books[0].sharing.found.u_lag_s
    return found.energy_j, found.u_j, true_j, u_lag_s * (true_j / (end_s - idle_s) - 60.0)


def test_energy_until_now_is_as_unsure_as_the_delay_is():
    """A late counter has shown less of it: a first epoch's energy was up to 11 u too small."""
    for seed in range(6):
        _, u_j, _, by_delay_j = until_now(seed, 0.1)
        assert 0.8 * by_delay_j < u_j < 1.6 * by_delay_j
        energy_j, u_j, true_j, _ = until_now(seed, 0.03)
        assert abs(energy_j - true_j) < 1.1 * u_j

"""Each rule on a training in which it is right, and on one in which it must stay silent."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lightning_energy import explain
from lightning_energy.results.verdict.rules import RULES
from tests.results.verdict.trainings import Trained, joules_of, of_ranks, phases, trained
from tests.sim.virtual_run import Pieces, Sensor, Work
from tests.sim.watched import by_channels

if TYPE_CHECKING:
    from lightning_energy.results.record import Record

pytestmark = pytest.mark.slow

QUICK = {"forward": 30, "backward": 45, "optimizer": 10, "other": 5, "copy": 3}
WATTS = (60.0, 300.0, 90.0, 200.0, 60.0)
FULL = {"module": "Net", "parameters": 5, "batch_size": 8, "precision": "32-true"}
RISING = (0.5, 0.6, 0.65, 0.7, 0.72, 0.74, 0.75, 0.76)


@cache
def plain() -> Trained:
    """A training with nothing to save: steps follow each other on a busy board, and the last epoch is the best."""
    work = Work(epochs=2, train_s=5.0, step_s=0.05, validate_s=0.15, phases=phases(**QUICK, data=0.5, saving=0.5))
    return trained(work, metrics=RISING, idle_w=60.0, samples=1000, what=FULL)


@cache
def slow_loader() -> tuple[Trained, float]:
    """Three fifths of a step wait for data. With more workers 1 ms of it is left, and all other pieces are the same."""
    of = trained(Work(epochs=2, train_s=6.0, step_s=0.155, validate_s=0.0, phases=phases(**QUICK, data=140)))
    waits_s = of.pieces.duration_s[[a is not None and a[3] == "data" for a in of.pieces.account]]
    share = (waits_s - 0.001).sum() / waits_s.sum()
    return of, share * of.true_j(lambda _epoch, _stage, _kind, phase: phase == "data")


@cache
def often_validated() -> tuple[Trained, float]:
    """A fifth of the time is validation. With ``check_val_every_n_epoch=2`` that of epochs 0, 2 and 4 is not there."""
    of = trained(Work(epochs=5, train_s=2.0, validate_s=0.5, watts=WATTS))
    return of, of.true_j(lambda epoch, stage, _kind, _phase: stage == "validate" and epoch % 2 == 0)


@cache
def past_its_best() -> tuple[Trained, float]:
    """Epoch 1 is the best of eight; a patience of three ends in epoch 4."""
    values = (0.5, 0.8, 0.7, 0.75, 0.79, 0.7, 0.72, 0.8)
    of = trained(Work(epochs=8, train_s=1.5, validate_s=0.1, watts=WATTS), metrics=values)
    return of, of.true_j(lambda epoch, *_: epoch > 4)


@cache
def often_saved() -> tuple[Trained, float]:
    """A checkpoint after every step takes a fifth of it. Half of them are every second one."""
    of = trained(Work(epochs=2, train_s=8.0, step_s=0.1, validate_s=0.0, phases=phases(**QUICK, saving=25)))
    return of, of.true_j(lambda _epoch, _stage, _kind, phase: phase == "saving") / 2


def with_twice_the_batch(pieces: Pieces) -> float:
    """True joules of a training in which every second step is not there, and the others do its work above idle, too."""
    steps = np.flatnonzero([a is not None and a[2] == "step" for a in pieces.account])
    power_w, seconds_s = pieces.power_w.copy(), pieces.duration_s.copy()
    power_w[steps] += power_w[steps] - 60.0
    seconds_s[steps[::2]] = 0.0
    inside = [a is not None for a in pieces.account]
    return float((power_w * seconds_s)[inside].sum())


@cache
def small_batches() -> tuple[Trained, float]:
    """Steps draw 120 W of 400 W, where an idle board draws 60 W."""
    of = trained(Work(epochs=2, train_s=5.0, validate_s=0.0, watts=(60.0, 120.0, 90.0, 90.0, 60.0)), idle_w=60.0)
    return of, of.true_j() - with_twice_the_batch(of.pieces)


@cache
def two_ranks() -> tuple[Trained, float]:
    """Rank 0 fetches data for three fifths of a step; rank 1 waits for it in its backward pass, at 120 W."""
    work = Work(epochs=1, train_s=9.0, step_s=0.155, validate_s=0.0)
    late = phases(**QUICK, data=140)
    forward, backward, optimizer, other, data, copy = late
    waits = ("backward", "step", data[2], 120.0)
    first = trained(replace(work, phases=late), seed=3)
    second = trained(replace(work, phases=(forward, backward, waits, optimizer, other, copy)), seed=4)
    of_backward = [a is not None and a[3] == "backward" for a in second.pieces.account]
    true_j = joules_of(second.pieces)[of_backward][1::2].sum()
    return Trained(of_ranks([first, second]), second.pieces), float(true_j)


@cache
def as_dear() -> Trained:
    """Another training in another precision, which takes as much energy."""
    what = {**FULL, "precision": "bf16-mixed"}
    return trained(Work(epochs=2, train_s=5.0, step_s=0.05, phases=phases(**QUICK)), seed=5, samples=1000, what=what)


@cache
def in_half_precision() -> Trained:
    """The same training in half of the time."""
    what = {**FULL, "precision": "bf16-mixed"}
    return trained(Work(epochs=1, train_s=5.0, validate_s=0.0), samples=1000, what=what)


@cache
def in_full_precision() -> tuple[Trained, float]:
    of = trained(Work(epochs=2, train_s=5.0, validate_s=0.0), samples=1000, what=FULL)
    return of, of.true_j() - in_half_precision().true_j()


RIGHT = {
    "waiting": slow_loader,
    "ranks": two_ranks,
    "validation": often_validated,
    "stopping": past_its_best,
    "batch": small_batches,
    "saving": often_saved,
    "precision": in_full_precision,
}


@pytest.mark.parametrize("rule", RIGHT)
def test_a_rule_promises_what_its_change_truly_saves(rule):
    of, true_j = RIGHT[rule]()
    found = explain(of.record, beside=in_half_precision().record if rule == "precision" else None)
    (saving,) = (s for s in found.savings if s.rule == rule)
    assert abs(saving.energy_j - true_j) < 2 * saving.u_j
    assert saving.u_j < (0.5 if rule == "ranks" else 0.25) * true_j  # boards are not alike
    assert saving.share == pytest.approx(saving.energy_j / found.energy_j)
    assert found.savings[0] is saving or rule == "ranks"  # both boards' loader, too


@cache
def equal_ranks() -> Record:
    second = trained(Work(epochs=1, train_s=8.0, step_s=0.05, validate_s=0.0, phases=phases(**QUICK)), seed=4)
    return of_ranks([trained(Work(epochs=1, train_s=8.0, step_s=0.05, validate_s=0.0, phases=phases(**QUICK))), second])


@pytest.mark.parametrize("rule", RIGHT)
def test_a_rule_is_silent_where_there_is_nothing_to_save(rule):
    """It looks, and finds too little or nothing: it is not among those that could not look."""
    record = equal_ranks() if rule == "ranks" else plain().record
    found = explain(record, beside=as_dear().record if rule == "precision" else None)
    assert rule not in {s.rule for s in found.savings} | {u.rule for u in found.unseen}


def test_phases_that_are_not_resolved_are_no_savings():
    """Steps in pace with the counter: nobody knows how much of them is waiting."""
    work = Work(epochs=1, train_s=5.0, step_s=0.05, validate_s=0.0, phases=phases(**QUICK, data=35), regular=True)
    found = explain(trained(work, sensor=Sensor(0.1)).record)
    assert "waiting" not in {s.rule for s in found.savings}
    (unseen,) = (u for u in found.unseen if u.rule == "waiting")
    assert unseen.why.startswith("the energy of its phase `data` is not resolved")


def test_every_rule_has_both():
    assert {*RIGHT} == {rule.name for rule in RULES}


def uneven(data: float, up: float) -> tuple[tuple[str, str, float, float], ...]:
    """The phases of a step whose forward pass draws more in its second half, and its backward pass less, or not so."""
    forward, backward, *others = phases(**QUICK, data=data)
    return (
        (*forward[:2], forward[2] / 2, forward[3] * (1 - up)),
        (*forward[:2], forward[2] / 2, forward[3] * (1 + up)),
        (*backward[:2], backward[2] / 2, backward[3] * (1 + up)),
        (*backward[:2], backward[2] / 2, backward[3] * (1 - up)),
        *others,
    )


@pytest.mark.parametrize("up", [0.25, -0.1])
def test_powers_that_vary_within_a_step_are_not_taken_for_waiting(up):
    """A wait of 95 ms is seen by itself, by a counter that moves every 20 ms; of one of 25 ms nothing is said."""
    work = Work(epochs=1, train_s=8.0, step_s=0.1605, validate_s=0.0, phases=uneven(140, up))
    of = trained(work, watch=by_channels())
    (waiting,) = (s for s in explain(of.record).savings if s.rule == "waiting")
    waits_s = of.pieces.duration_s[[a is not None and a[3] == "data" for a in of.pieces.account]]
    true_j = (1 - 0.001 / waits_s.mean()) * of.true_j(lambda _epoch, _stage, _kind, phase: phase == "data")
    assert abs(waiting.energy_j - true_j) < 2 * waiting.u_j < 0.1 * true_j
    short = trained(replace(work, step_s=0.085, phases=uneven(35, up)), watch=by_channels())
    found = explain(short.record)
    assert "waiting" not in {s.rule for s in (*found.savings, *found.small)}

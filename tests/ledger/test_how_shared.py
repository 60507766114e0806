from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lightning_energy.ledger.how_shared import how_shared
from tests.recomputed import accounts_of
from tests.sim.virtual_run import PHASES, START_NS, Seen, Sensor, Work, at_brackets, play

SENSORS = {
    "100 ms late": Sensor(lag_s=0.1),
    "smooths over 50 ms": Sensor(lag_s=0.02, ema_s=0.05),
    "every 20 ms": Sensor(update_s=0.02, lag_s=0.015),
    "steps in turns": Sensor(update_s=0.02),
    "long and short steps": Sensor(update_s=0.02),
    "phases": Sensor(update_s=0.02),
}
DIVIDED = {"phases": {"step_s": 0.05, "phases": PHASES}}
KINDS = {
    "steps in turns": {"step_s": 0.05, "kinds": ((1.3, 1.0), (0.5, 1.0))},
    "long and short steps": {"step_s": 0.05, "kinds": ((1.2, 1.3), (0.6, 0.7))},
}


def told(work: Work, sensor: Sensor, seed: int = 1):
    """The ledger's totals, the way to share, and the trace."""
    ledger = play(seed, work, sensor).ledger
    totals = ledger.totals()
    curve, steps = (pd.DataFrame(table) for table in ledger.take_trace())
    return totals, how_shared(totals.fitted(0), ledger.classes.names, START_NS), curve, steps


@pytest.mark.slow
@pytest.mark.parametrize("name", SENSORS)
def test_accounts_can_be_recomputed(name):
    epochs = 40 if SENSORS[name].update_s > 0.05 or name in DIVIDED else 10
    work = Work(epochs=epochs, opening=(0.05, 60.0), drift=0.2, **(KINDS | DIVIDED).get(name, {}))
    totals, shared, curve, steps = told(work, SENSORS[name])
    assert len(shared.step_kinds) == int(name in KINDS)
    assert len(shared.beside) == (5 if name in DIVIDED else 0)  # all intervals tell a delay between those of five
    assert len(shared.ends_s) > 1  # its powers wander from block to block
    accounts = accounts_of(shared.to_plain(), curve, steps)
    assert len(accounts) == (8 if name in DIVIDED else 4) * epochs  # training and validation, steps and gaps
    for (epoch, stage, *kind_and_phase), energy_j in accounts.items():
        found = totals.energy(epoch=epoch, stage=stage, **dict(zip(("kind", "phase"), kind_and_phase, strict=False)))
        assert energy_j == pytest.approx(found.energy_j, rel=1e-6, abs=1e-6)
    assert math.fsum(accounts.values()) == pytest.approx(totals.energy().energy_j, rel=1e-9)


def test_accounts_that_a_smoothing_sensor_has_not_shown_at_the_end_can_be_recomputed():
    """It shows the last 300 ms of work only in part: what was before is in it, however little."""
    ledger = play(1, Work(epochs=6, idle_s=(1.5, 0.05)), Sensor(lag_s=0.02, ema_s=0.05), late_s=0.3).ledger
    totals = ledger.totals()
    curve, steps = (pd.DataFrame(table) for table in ledger.take_trace())
    shared = how_shared(totals.fitted(0), ledger.classes.names, START_NS)
    assert shared.smoothing_s > 0.03
    for (epoch, stage, kind), energy_j in accounts_of(shared.to_plain(), curve, steps).items():
        assert energy_j == pytest.approx(totals.energy(epoch=epoch, stage=stage, kind=kind).energy_j, abs=1e-6)


def close(ledger) -> None:
    """Check that the accounts are as they can be recomputed."""
    totals = ledger.totals()
    curve, steps = (pd.DataFrame(table) for table in ledger.take_trace())
    shared = how_shared(totals.fitted(0), ledger.classes.names, START_NS)
    assert shared.parts
    for (epoch, stage, kind, phase), energy_j in accounts_of(shared.to_plain(), curve, steps).items():
        found = totals.energy(epoch=epoch, stage=stage, kind=kind, phase=phase)
        assert energy_j == pytest.approx(found.energy_j, abs=1e-6)


LATE = Work(
    epochs=1,
    train_s=16.0,
    validate_s=0.0,
    step_s=0.2,
    phases=PHASES,
    profiles=(("backward", ((0.5, 1.3), (0.5, 0.7))), ("forward", ((0.5, 0.7), (0.5, 1.3)))),
    idle_s=(1.5, 0.05),
)


def test_phases_that_a_late_counter_has_not_shown_at_the_end_go_on_with_the_powers_of_their_parts():
    """It shows the last 200 ms of work never: the first half of a phase draws more or less than the second."""
    close(play(1, LATE, Sensor(lag_s=0.3), late_s=0.2).ledger)


def test_phases_of_which_a_part_is_missing_can_be_recomputed():
    """Three seconds of which nothing is known are no time of 0 W."""

    def with_gap(*arguments) -> list[Seen]:
        seen = []
        for time_s, energy_j, half_s, _ in at_brackets(*arguments):
            first, last = np.searchsorted(time_s, [6.0, 9.0])
            lost_j = np.zeros(len(time_s))
            lost_j[last:] = energy_j[last] - energy_j[first - 1]
            kept = np.r_[:first, last : len(time_s)]
            seen.append(Seen(time_s[kept], (energy_j - lost_j)[kept], half_s[kept], {first}))
        return seen

    ledger = play(1, replace(LATE, idle_s=(1.5, 1.0)), Sensor(), watch=with_gap).ledger
    assert 3.0 < ledger.totals().energy().missing_s < 3.2
    close(ledger)


def test_the_delay_and_the_powers_are_told_in_numbers():
    _, shared, _, _ = told(Work(epochs=12), Sensor(lag_s=0.1))
    assert (shared.method, shared.why, shared.look) == ("fitted", "", 1.0)
    assert abs(shared.delay_s - 0.1) <= 3 * shared.delay_u_s < 0.03
    by_class = {(row.stage, row.phase): row for row in shared.classes}
    for of_class, true_w in ((("train", "step"), 300.0), (("validate", "step"), 120.0)):
        assert abs(by_class[of_class].power_w - true_w) <= 3 * by_class[of_class].u_w + 0.02 * true_w
    assert {*by_class} == {
        *(("outside", "before"), ("outside", "after"), ("train", "step"), ("train", "gap"), ("validate", "step"))
    }  # classes that did not occur are left out
    assert len(shared.covariance_w2) == len(shared.powers_w[0]) == len(by_class)


def test_plain_types_have_every_field():
    _, shared, _, _ = told(Work(epochs=3), Sensor())
    plain = shared.to_plain()
    assert plain["classes"][0].keys() == {"stage", "phase", "power_w", "u_w"}
    assert plain["ends_s"] == [*shared.ends_s]


@pytest.mark.parametrize("name", KINDS)
def test_kinds_are_told_with_the_number_of_their_steps_and_the_joules_of_each(name):
    """A tenth of each 50 ms is a gap: 390 and 150 W for 45 ms; or 180 W for 0.7 and 360 W for 1.3 of it."""
    _, shared, _, steps = told(Work(epochs=15, **KINDS[name]), Sensor(update_s=0.02))
    (kinds,) = shared.step_kinds
    train = steps[(steps.stage == "train") & (steps.kind == "step")]
    of_each = train.groupby(kinds.of(train.number, train.duration_s))
    assert (kinds.stage, kinds.n) == ("train", tuple(of_each.size().tolist()))
    assert kinds.step_s == pytest.approx(of_each.duration_s.mean().tolist(), rel=1e-6)
    true_j = (17.55, 6.75) if kinds.every else (5.67, 21.06)
    assert kinds.step_j == pytest.approx(true_j, rel=0.05)
    assert kinds.step_j == pytest.approx(of_each.energy_j.mean().tolist(), rel=0.05)
    assert all(0 < u_j < 0.05 * j for j, u_j in zip(kinds.step_j, kinds.step_u_j, strict=True))

"""Figures that are asked for shortly after a booking for a moment, in virtual time, beside those that ask for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from lightning_energy.curves.curve import Curve
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.ledger.marks import Marks
from lightning_energy.ledger.tail import LONGEST_TAIL_NS
from lightning_energy.meters import MeterInfo
from tests.ledger.plays import START, S, steady
from tests.sim.virtual_run import PHASES, START_NS, Pieces, Seen, Sensor, Work, at_brackets, training

if TYPE_CHECKING:
    from lightning_energy.ledger.totals import Totals

INFO = MeterInfo("d", "device", "measured", "gpu", power_max_w=500.0, power_min_w=20.0)


class Asked(NamedTuple):
    """Figures of a run that were asked for at ends of epochs: joules, standard uncertainties and the truth."""

    what: list[str]
    energy_j: np.ndarray
    u_j: np.ndarray
    true_j: np.ndarray
    foreseen: int  # how often nothing had to be booked


def events_of(pieces: Pieces, seen: Seen, end_s: float, lead_s: float | None) -> list[tuple[float, int, object]]:
    """Marks (0), updates (1), bookings (2), questions at ends of epochs (3), and looks ahead to these (4), in order."""
    start_s = np.concatenate([[0.0], np.cumsum(pieces.duration_s)])
    events: list[tuple[float, int, object]] = []
    last: tuple | None = None
    for k, (begin_s, account) in enumerate(zip(start_s, pieces.account, strict=False)):
        if account != last:
            events.append((begin_s, 0, account))
            if last is not None and (account is None or account[0] != last[0]):
                events.append((begin_s + 1e-5, 3, (last[0], k)))
            last = account
    events += [(t, 1, (j - seen.energy_j[0], half_s)) for t, j, half_s in zip(*seen[:3], strict=True)]
    events += [(t, 2, None) for t in np.arange(2.0, end_s, 2.0)]
    if lead_s is not None:
        events += [(t - lead_s, 4, None) for t, what, _ in events if what == 3]
    return sorted(events, key=lambda event: event[:2])


def ask(seed: int, work: Work, sensor: Sensor, lead_s: float | None) -> Asked:
    """Ask at each end of an epoch, after a look ahead so many seconds before."""
    rng = np.random.default_rng(seed)
    pieces = training(rng, work)
    curve, now = Curve(INFO), [START_NS]
    ledger = Ledger([curve], clock=lambda: now[0])
    end_s = float(pieces.duration_s[:-1].sum()) + 0.8
    (seen,) = at_brackets(rng, [pieces], sensor, end_s)
    rows, foreseen = [], 0
    for t, what, value in events_of(pieces, seen, end_s, lead_s):
        now[0] = START_NS + round(t * 1e9)
        if what == 0:
            ledger.mark(ledger.code(*value) if value else 0)
        elif what == 1:
            curve.add(now[0], value[0], half_width_ns=round(value[1] * 1e9))
        elif what == 3:
            before = ledger.books[0].__dict__["_for_now"]
            rows += figures(ledger.totals(), pieces, *value)
            foreseen += ledger.books[0].__dict__["_for_now"] is before
        elif what == 2:
            ledger.settle()
        else:
            ledger.expected.begin()
            ledger.foresee()
            assert ledger.expected.failure is None
    what, *columns = zip(*rows, strict=True)
    return Asked([*what], *(np.array(column) for column in columns), foreseen)


def figures(totals: Totals, pieces: Pieces, this: int, k: int) -> list[tuple[str, float, float, float]]:
    """The run's figures and those of an epoch: joules, uncertainties, and the truth of the first ``k`` pieces."""
    epoch = np.array([-1 if a is None else a[0] for a in pieces.account])[:k]
    stage = np.array(["" if a is None else a[1] for a in pieces.account])[:k]
    joules = (pieces.duration_s * pieces.power_w)[:k]
    rows = []
    for name in ("run", "train", "validate"):
        mask = epoch >= 0 if name == "run" else (epoch == this) & (stage == name)
        energy = totals.energy() if name == "run" else totals.energy(stage=name, epoch=this)
        if mask.any():
            rows.append((name, energy.energy_j or 0.0, energy.u_j, float(joules[mask].sum())))
    return rows


PLAYS = {
    "no validation": (Work(epochs=12, validate_s=0.0, step_s=0.02), Sensor(lag_s=0.02)),
    "smoothed": (Work(epochs=10, train_s=2.5, validate_s=0.3), Sensor(lag_s=0.03, ema_s=0.02)),
    "short validation": (Work(epochs=10, train_s=2.5, validate_s=0.12), Sensor(lag_s=0.02)),
    "openings": (Work(epochs=10, opening=(0.15, 70.0), validate_s=0.4), Sensor(whole_w=1.0)),
    "fast": (Work(epochs=10, validate_s=0.0, step_s=0.02), Sensor(update_s=0.02)),
    "kinds": (
        Work(epochs=6, train_s=3.0, step_s=0.15, kinds=((1.0, 1.0), (0.5, 1.7))),
        Sensor(update_s=0.05),
    ),
    "phases": (Work(epochs=5, train_s=3.0, step_s=0.3, phases=PHASES), Sensor(update_s=0.05)),
    "drift": (Work(epochs=12, drift=0.8, correlated=0.9), Sensor()),
}
OFTEN = {"no validation", "fast", "openings"}  # where updates since belong to one stage


@pytest.mark.parametrize("name", PLAYS)
def test_what_was_foreseen_is_as_right_as_what_is_worked_out_when_it_is_asked_for(name):
    work, sensor = PLAYS[name]
    now, before = ([ask(seed, work, sensor, lead_s) for seed in range(3)] for lead_s in (None, 0.2))
    found, foreseen = (
        [np.concatenate([getattr(one, figure) for one in runs]) for figure in ("energy_j", "u_j", "true_j")]
        for runs in (now, before)
    )
    z, z_foreseen = (np.abs(energy_j - true_j) / u_j for energy_j, u_j, true_j in (found, foreseen))
    assert np.mean(z_foreseen < 2) >= min(np.mean(z < 2), 0.95) - 0.02
    assert np.median(foreseen[1] / found[1]) <= 1.02
    assert np.mean(np.abs(found[0] - foreseen[0]) <= found[1]) >= 0.95
    assert sum(one.foreseen for one in now) == 0
    assert sum(one.foreseen for one in before) >= (0.4 * work.epochs * 3 if name in OFTEN else 0)


def test_where_the_stage_changed_since_the_time_since_is_booked_on_top_of_it():
    foreseen, booked = steady(at_last="validate"), steady(at_last="validate")
    booked.books[0].__dict__["_foreseen"] = None
    one, other = foreseen.totals(), booked.totals()
    assert foreseen.books[0].__dict__["_for_now"] is None
    for stage in (None, "train", "validate"):
        asked = one.energy(stage=stage), other.energy(stage=stage)
        assert asked[0].energy_j == pytest.approx(asked[1].energy_j, rel=1e-9)
        assert asked[0].u_j == pytest.approx(asked[1].u_j, rel=0.02)


def test_what_was_foreseen_is_the_base_of_what_is_foreseen_next():
    """In short epochs each look ahead books what came since the last one, not all since the last booking."""
    ledger, booked = steady(at_last="train"), steady(at_last="train")
    (book,) = ledger.books
    first = book.__dict__["_foreseen"]
    ledger.expected.begin()
    ledger.foresee()
    second = book.__dict__["_foreseen"]
    assert second.soon.news.kept is first.kept
    booked.books[0].__dict__["_foreseen"] = None
    one, other = ledger.totals().energy(), booked.totals().energy()
    assert one.energy_j == pytest.approx(other.energy_j, rel=1e-9)
    assert one.u_j == pytest.approx(other.u_j, rel=0.02)


def test_what_is_foreseen_of_a_stage_that_has_just_begun_has_its_classes():
    """No update came since the last look ahead, so that no interval has them: the look was an error that ended all."""
    ledger, booked = steady(at_last="train"), steady(at_last="train")
    booked.books[0].__dict__["_foreseen"] = None
    for each in (ledger, booked):
        for stage in ("train", "validate"):
            each.mark(each.code(0, stage, "step"))
            if each is ledger:
                each.expected.begin()
                each.foresee()
                assert each.expected.failure is None
    assert len(ledger.books[0].__dict__["_foreseen"].known.powers.overall_w) == len(ledger.classes.names)
    clock = ledger.inbox.clock
    one, other = (each.totals(clock() + S // 20) for each in (ledger, booked))
    for stage in (None, "train", "validate"):
        asked = one.energy(stage=stage), other.energy(stage=stage)
        assert asked[0].energy_j == pytest.approx(asked[1].energy_j, rel=1e-9)
        assert asked[0].u_j == pytest.approx(asked[1].u_j, rel=0.02)


def test_what_was_foreseen_with_marks_that_moved_since_is_of_no_use():
    """As those of a device that had not reached them: they count as reached then."""
    ledger = steady(at_last="train")
    (book,), groups = ledger.books, ledger.accounts.arrays.group
    ledger.read_marks()
    (marks,) = ledger.marks.as_if_reached(START_NS)
    foreseen = book.__dict__["_foreseen"]
    assert foreseen.holds(book.kept, marks, groups, is_exact=False)
    later = Marks(marks.time_ns + 1, marks.code)
    assert not foreseen.holds(book.kept, later, groups, is_exact=False)
    assert not foreseen.holds(book.kept, marks, groups, is_exact=True)


def test_what_was_foreseen_is_forgotten_with_the_next_booking():
    ledger = steady(at_last="train")
    ledger.settle(final=True)
    assert ledger.books[0].__dict__["_foreseen"] is None


@pytest.mark.parametrize("has_device", [False, True])
def test_what_updates_show_of_the_time_since_is_all_shared_out(has_device):
    """Whatever powers say: the run has spent what the counter shows, and what goes on behind it."""
    foreseen, booked = (steady(at_last="train", has_device=has_device) for _ in range(2))
    booked.books[0].__dict__["_foreseen"] = None
    one, other = foreseen.totals().energy(), booked.totals().energy()
    assert [ledger.books[0].__dict__["_for_now"] is None for ledger in (foreseen, booked)] == [True, False]
    assert one.energy_j == pytest.approx(other.energy_j, rel=1e-9)
    assert one.u_j == pytest.approx(other.u_j, rel=0.05)
    assert one.duration_s == pytest.approx(other.duration_s)


def test_no_booking_comes_between():
    """One that is due waits until totals that are expected were asked for: what was foreseen holds no more after it."""
    ledger, asked = steady(at_last="train"), []
    (book,) = ledger.books
    ledger.expected.begin()
    ledger.foresee()
    before = book.kept

    def pause() -> None:
        if not asked:
            asked.append(ledger.totals())
            assert book.kept is before
            assert book.__dict__["_for_now"] is None

    ledger.settle(pause=pause)
    assert len(asked) == 1
    assert book.kept is not before
    assert book.__dict__["_foreseen"] is None


def test_a_mark_that_was_on_its_way_when_it_was_foreseen_counts_from_its_time():
    """The training thread had looked at the clock, and the background came between before it left the mark."""
    ledgers = steady(at_last="train", is_exact=True), steady(at_last="train", is_exact=True)
    for ledger in ledgers:
        (book,), clock = ledger.books, ledger.inbox.clock
        clock.now_ns = START + 20 * S + 2_000_000
        book.curve.add(START + 20 * S, 26.0 * 200 + 0.2, half_width_ns=1_000_000)
        code = ledger.code(0, "validate", "step")
        ledger.expected.begin()
        ledger.foresee()
        ledger.inbox.marks.extend((START + 20 * S - 2_000_000, code))
        clock.now_ns = START + 20 * S + S // 20
    assert ledgers[0].books[0].__dict__["_foreseen"] is not None
    ledgers[1].books[0].__dict__["_foreseen"] = None
    one, other = (ledger.totals().energy(stage="validate") for ledger in ledgers)
    assert one.duration_s == pytest.approx(other.duration_s) == pytest.approx(0.052)
    assert one.energy_j == pytest.approx(other.energy_j, rel=0.01)


def test_silence_is_counted_from_the_last_update_and_not_from_what_was_foreseen():
    ledgers = steady(at_last="train"), steady(at_last="train")
    ledgers[1].books[0].__dict__["_foreseen"] = None
    for ledger in ledgers:
        ledger.inbox.clock.now_ns = START + 199 * S // 10 + LONGEST_TAIL_NS - S // 10
    one, other = (ledger.totals().energy() for ledger in ledgers)
    assert one.missing_s == pytest.approx(other.missing_s)  # the time before the first update
    assert one.energy_j == pytest.approx(other.energy_j, rel=1e-9)

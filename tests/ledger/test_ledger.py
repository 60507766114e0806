from __future__ import annotations

import gc
import math
import random
import sys
from dataclasses import astuple
from itertools import count, pairwise, product
from types import FunctionType, ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_energy.curves.channel import Channel
from lightning_energy.curves.curve import Curve
from lightning_energy.ledger.ledger import Ledger
from lightning_energy.meters import MeterInfo, ReplayMeter
from tests.ledger.plays import INFO, START, Clock, S, constant
from tests.sim.clock import VirtualClock, drive

ACCOUNTS = [
    (-1, "train", "gap"),
    (0, "train", "step"),
    (0, "train", "gap"),
    (0, "validate", "step"),
    (1, "train", "step"),
    (1, "train", "gap"),
]

knots_of_a_curve = st.lists(
    st.tuples(st.integers(1_000_000, 200_000_000), st.floats(50, 500), st.sampled_from([False] * 5 + [True])),
    min_size=3,
    max_size=25,
)
marks_of_a_run = st.lists(
    st.tuples(st.integers(0, 150_000_000), st.integers(0, len(ACCOUNTS) - 1)), min_size=1, max_size=40
)


def play(rows_of_curves, marks, settle_after):
    """Knots and marks in the order of their times, as sampler and training bring them."""
    clock = Clock()
    curves = [Curve(INFO) for _ in rows_of_curves]
    ledger = Ledger(curves, clock=clock, is_exact=[lambda: True] * len(curves))
    whole = [Curve(INFO) for _ in rows_of_curves]  # what the ledger forgets is kept here
    events = []
    for i, rows in enumerate(rows_of_curves):
        time_ns, energy_j = START - 50_000_000, 0.0
        events.append((time_ns, 0, i, energy_j, "measured"))
        for length_ns, power_w, missing in rows:
            time_ns += length_ns
            energy_j += 0.0 if missing else power_w * length_ns * 1e-9
            events.append((time_ns, 0, i, energy_j, "missing" if missing else "measured"))
    time_ns, accounts = START, []
    for gap_ns, account in marks:
        time_ns += gap_ns
        events.append((time_ns, 1, account, 0.0, ""))
        accounts.append((time_ns, account))
    end_ns = time_ns + 1
    events.append((end_ns, 1, -1, 0.0, ""))
    for n, (time_ns, kind, i, energy_j, quality) in enumerate(sorted(events, key=lambda e: e[:2])):
        clock.now_ns = time_ns
        if kind == 0:
            for curve in (curves[i], whole[i]):
                curve.add(time_ns, energy_j, quality=quality)
        else:
            ledger.mark(ledger.code(*ACCOUNTS[i]) if i >= 0 else 0)
        if n in settle_after:
            ledger.settle()
    clock.now_ns = max(clock.now_ns, end_ns) + S
    return ledger, whole, [*accounts, (end_ns, -1)], clock


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(knots_of_a_curve, min_size=1, max_size=3), marks_of_a_run, st.sets(st.integers(0, 80)))
def test_accounts_add_up_to_the_rise_of_the_curves(rows_of_curves, marks, settle_after):
    ledger, whole, accounts, clock = play(rows_of_curves, marks, settle_after)
    ledger.settle(final=True)
    first_ns, last_ns = accounts[0][0], accounts[-1][0]
    # the curves of this test end somewhere; what is behind their ends is extrapolated, so look at what is known
    for d, curve in enumerate(whole):
        known_ns = min(last_ns, curve.end_ns)
        if known_ns < last_ns:
            continue
        totals = ledger.totals(clock.now_ns)
        expected = curve.energy_between(first_ns, last_ns)
        total = totals.energy(device=d)
        assert (total.energy_j is None) == (expected.energy_j is None)
        groups = ledger.accounts.arrays.group
        everything, _ = ledger.books[d].totals(ledger.marks.of_curve(d), groups, curve.end_ns)
        rise_j = everything.energy(np.ones(len(groups), dtype=bool), "total", 0.0).energy_j or 0.0
        assert rise_j == pytest.approx(curve.end_j, rel=1e-9)  # with the time outside of accounts
        assert total.missing_s == pytest.approx(expected.missing_s, abs=1e-9)
        assert total.duration_s == pytest.approx((last_ns - first_ns) * 1e-9, abs=1e-9)
        spans = totals.missing_ns[d]
        assert math.fsum((b - a) * 1e-9 for a, b in spans) == pytest.approx(expected.missing_s, abs=1e-9)
        assert all(a < b for a, b in spans)
        assert all(one[1] < two[0] for one, two in pairwise(spans))
        known = {account[:3] for account in totals.accounts}
        parts = [totals.energy(epoch=e, stage=s, kind=k, device=d) for e, s, k in ACCOUNTS if (e, s, k) in known]
        assert math.fsum(p.energy_j or 0.0 for p in parts) == pytest.approx(total.energy_j or 0.0, rel=1e-9, abs=1e-12)
        for i, account in enumerate(ACCOUNTS):
            windows = [curve.energy_between(a_ns, b_ns) for (a_ns, a), (b_ns, _) in pairwise(accounts) if a == i]
            own = totals.energy(epoch=account[0], stage=account[1], kind=account[2], device=d)
            assert own.duration_s == pytest.approx(math.fsum(w.duration_s for w in windows), abs=1e-6)
            assert own.missing_s == pytest.approx(math.fsum(w.missing_s for w in windows), abs=1e-6)


@pytest.mark.slow
@settings(deadline=None)
@given(knots_of_a_curve, marks_of_a_run, st.sets(st.integers(0, 80)))
def test_settling_early_or_late_makes_no_difference(rows, marks, settle_after):
    one, _, accounts, clock = play([rows], marks, settle_after)
    other, _, _, _ = play([rows], marks, set())
    for ledger in (one, other):
        ledger.settle(final=True)
    a, b = (ledger.totals(clock.now_ns) for ledger in (one, other))
    for account in {i for _, i in accounts if i >= 0}:
        epoch, stage, kind = ACCOUNTS[account]
        x, y = (t.energy(epoch=epoch, stage=stage, kind=kind) for t in (a, b))
        # a microjoule: the power of a nanosecond, to which times are rounded
        assert (x.energy_j or 0.0) == pytest.approx(y.energy_j or 0.0, rel=1e-9, abs=1e-6)
        assert x.u_j == pytest.approx(y.u_j, rel=1e-6, abs=1e-6)
        assert x.missing_s == pytest.approx(y.missing_s, abs=1e-9)


@pytest.mark.slow
@settings(max_examples=100)
@given(knots_of_a_curve, marks_of_a_run, st.sets(st.integers(0, 80)))
def test_what_is_not_booked_yet_is_told_as_booking_will_find_it(rows, marks, settle_after):
    """A checkpoint, or an epoch that just ended, asks before the sampler's thread has booked."""
    ledger, _, _, clock = play([rows], marks, settle_after)
    before = ledger.totals(clock.now_ns)
    ledger.settle(final=True)
    after = ledger.totals(clock.now_ns)
    for kind, (epoch, stage) in product((None, "step"), ((None, None), (0, "train"), (1, "train"), (0, "validate"))):
        one, two = (t.energy(kind=kind, epoch=epoch, stage=stage) for t in (before, after))
        assert (one.duration_s, one.missing_s) == (pytest.approx(two.duration_s), pytest.approx(two.missing_s))
        if one.energy_j is not None and two.energy_j is not None:
            assert one.energy_j == pytest.approx(two.energy_j, rel=1e-9, abs=1e-9 + 3 * (one.u_j + two.u_j))


def test_a_meter_that_never_answered_is_missing_and_marks_are_still_forgotten():
    clock = Clock()
    curve = Curve(INFO)
    ledger = Ledger([curve], clock=clock)
    ledger.mark(ledger.code(0, "train", "step"))
    clock.now_ns += S
    curve.add(clock.now_ns - 1000, 0.0)
    curve.add(clock.now_ns, 0.0, quality="missing")
    ledger.mark(ledger.code(0, "train", "gap"))
    clock.now_ns += S
    curve.add(clock.now_ns, 0.0, quality="missing")
    ledger.mark(0)
    clock.now_ns += S
    curve.add(clock.now_ns, 0.0, quality="missing")
    ledger.settle(final=True)
    total = ledger.totals().energy()
    assert (total.energy_j, total.quality) == (None, "missing")
    assert total.missing_s == pytest.approx(2.0)
    assert len(ledger.marks.host.code) == 0


def test_a_mark_that_comes_late_moves_to_what_is_open():
    ledger, at, grow, clock = constant()
    at(0.0, (0, "train", "step"))
    grow(1.0)
    grow(2.0)
    clock.now_ns = START + 3 * S
    ledger.settle()
    at(1.5, (0, "train", "gap"))  # the thread was stopped between its time stamp and its mark
    grow(4.0)
    clock.now_ns = START + 4 * S
    ledger.settle(final=True)
    totals = ledger.totals()
    assert totals.energy(kind="step").energy_j == pytest.approx(200.0)
    assert totals.energy().energy_j == pytest.approx(400.0)


def test_no_device_no_figure():
    ledger = Ledger([])
    ledger.mark(ledger.code(0, "train", "step"))
    ledger.settle(final=True)
    assert ledger.totals().energy().energy_j is None
    assert ledger.totals().stages == ["train"]
    assert ledger.totals().epochs == [0]
    for _ in range(1000):  # of a rank whose board another rank reads, say: nobody would come for them
        ledger.mark(1)
    assert len(ledger.inbox.marks) == len(ledger.marks.host.code) == 0


def test_thirty_days_of_nanoseconds_are_exact():
    clock = VirtualClock(30 * 86_400 * S)
    meter = ReplayMeter(200.0, counter_period_s=0.1, clock=clock, info=INFO)
    channel = Channel(meter, meter.open(), clock=clock)
    ledger = Ledger([channel.curve], clock=lambda: clock.now_ns)
    drive(channel, clock, clock.now_ns + S)
    start_ns = clock.now_ns
    ledger.mark(ledger.code(0, "train", "step"))
    drive(channel, clock, clock.now_ns + 3 * S)
    end_ns = clock.now_ns
    ledger.mark(0)
    drive(channel, clock, clock.now_ns + S)
    ledger.settle(final=True)
    total = ledger.totals().energy()
    assert total.duration_s == pytest.approx((end_ns - start_ns) * 1e-9, rel=1e-12)
    assert total.energy_j == pytest.approx(200.0 * total.duration_s, abs=3 * total.u_j)


def held_bytes(whole) -> int:
    """The bytes of an object and of all that it holds."""
    seen, found, size = set(), [whole], 0
    while found:
        one = found.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType):
            continue
        seen.add(id(one))
        size += sys.getsizeof(one)
        found += [*gc.get_referents(one), *([one.base] if isinstance(one, np.ndarray) else [])]
    return size


@pytest.mark.slow
def test_many_steps_take_no_memory():
    """2 ms steps over 160 s on a counter of 100 ms, settled four times a second; after 100 s the first are let go."""
    clock = Clock()
    curve = Curve(INFO)
    ledger = Ledger([curve], clock=clock)
    step, gap = ledger.code(0, "train", "step"), ledger.code(0, "train", "gap")
    curve.add(START - 1, 0.0)
    steps, energy_j, longest, before = 0, 0.0, 0, 0
    for i in range(80_000):
        clock.now_ns = START + i * 2_000_000
        ledger.mark(step)
        clock.now_ns += 1_800_000
        ledger.mark(gap)
        if i % 50 == 49:
            curve.add(clock.now_ns, curve.end_j + 30.0)
        if i % 125 == 124:
            ledger.settle()
            longest = max(longest, len(curve), len(ledger.marks.host.code) // 100, ledger.waiting)
        if i % 5000 == 4999:
            taken = ledger.take_steps()
            steps += len(taken.energy_j)
            energy_j += taken.energy_j.sum()
        if i == 59_999:
            before = held_bytes(ledger)
    after = held_bytes(ledger)
    ledger.settle(final=True)
    assert steps > 79_000
    assert energy_j / steps == pytest.approx(30.0 / 50, rel=1e-3)
    assert ledger.totals().energy().energy_j == pytest.approx(curve.end_j, rel=1e-3)
    assert after - before < 200_000  # 10 bytes a step
    assert longest < 10


@pytest.mark.slow
def test_uncertainty_covers_the_error_and_is_not_lazy():
    """Windows of mixed lengths over mixed loads, one of them oscillating near the period of the counter."""
    loads = [
        [(0.045, 320.0), (0.005, 80.0)],
        [(0.213, 400.0), (0.104, 80.0)],
        [(0.051, 380.0), (0.051, 90.0)],
        [(0.118, 350.0), (0.013, 90.0)],
        [(0.319, 350.0), (0.042, 90.0)],
    ]
    inside, errors, us = 0, [], []
    rng = random.Random(5)
    for period_s in (0.02, 0.1):
        for load in loads:
            clock = VirtualClock()
            info = MeterInfo("d", "device", "measured", "gpu", power_max_w=460.0, power_min_w=50.0, instant_power=True)
            meter = ReplayMeter(load, counter_period_s=period_s, clock=clock, info=info)
            channel = Channel(meter, meter.open(), clock=clock)
            start_ns = clock.now_ns
            drive(channel, clock, start_ns + 20 * S, late_s=0.001, seed=rng.randrange(1000))
            channel.finish()
            for _ in range(200):
                a_ns = start_ns + round(rng.uniform(1.0, 15.0) * S)
                b_ns = a_ns + round(math.exp(rng.uniform(math.log(0.002), math.log(3.0))) * S)
                energy = channel.curve.energy_between(a_ns, b_ns)
                error_j = abs(energy.energy_j - meter.true_energy_j(a_ns, b_ns))
                inside += error_j <= 2 * energy.u_j
                errors.append(error_j)
                us.append(energy.u_j)
    assert len(errors) == 2000
    assert inside / len(errors) >= 0.95
    assert sorted(us)[1000] / sorted(errors)[1000] <= 6


def overlapped(during):
    """A ledger of 100 W for 4 s, one mark per second, that is settled while ``during`` happens."""
    curve, times = Curve(ReplayMeter(100.0).open()), iter([*range(1, 5)])
    ledger = Ledger([curve], clock=lambda: next(times, 10) * 10**9)
    step, gap = ledger.code(0, "train", "step"), ledger.code(0, "train", "gap")
    for code in (step, gap, step, gap):
        ledger.mark(code)
    for second in range(6):
        curve.add(second * 10**9, 100.0 * second)
    ledger.settle(final=True, pause=lambda: during(ledger))
    ledger.settle(final=True)
    return ledger.totals(5 * 10**9).energy()


def test_of_settlings_that_overlap_one_books():
    once = overlapped(lambda ledger: None)
    assert once.energy_j == pytest.approx(400.0)
    assert overlapped(lambda ledger: ledger.settle(final=True)) == once


def test_a_late_mark_does_not_move_into_what_is_being_booked():
    pauses = count()

    def come_late(ledger) -> None:
        if not next(pauses):  # nothing is being booked yet
            return
        ledger.inbox.marks.extend((2 * 10**9, 0))
        ledger.totals(5 * 10**9)  # reads the inbox

    found = overlapped(come_late)
    assert found.duration_s == pytest.approx(4.0)
    assert found.energy_j == pytest.approx(400.0)


def test_amidst_work_under_the_lock_the_last_whole_totals_stand():
    """As in a signal handler, which comes in the thread that holds the lock."""
    ledger, at, grow, clock = constant()
    at(0.0, (0, "train", "step"))
    grow(1.0)
    clock.now_ns += 5 * S
    assert not ledger.is_interrupted
    with ledger.lock:
        assert ledger.is_interrupted
        assert ledger.totals().energy().energy_j is None  # nothing was asked yet
    ledger.settle()
    with ledger.lock:
        assert ledger.totals().energy().energy_j == pytest.approx(100.0)  # of the second that was booked
    known = ledger.totals()
    grow(2.0)
    with ledger.lock:
        assert ledger.totals() is known


@given(
    seed=st.integers(0, 2**32 - 1),
    period_s=st.sampled_from([0.02, 0.1]),
    apart_s=st.sampled_from([0.002, 0.03, 0.4]),
    lag_s=st.sampled_from([0.0, 0.03]),
)
@settings(max_examples=4)
def test_contents_asked_for_again_and_again_are_those_of_whoever_asks_once(seed, period_s, apart_s, lag_s):
    """Epochs of steps and validations, of a ledger that is asked all the time, and of one that works it out anew."""
    rng = random.Random(seed)
    clock, curves = Clock(), [Curve(INFO), Curve(INFO)]
    often, once = (Ledger([curve], clock=clock) for curve in curves)
    energy_j, next_ns, shown = 0.0, START, []
    for n in range(80):
        epoch, kind = divmod(n, 12)
        account = (epoch, "validate" if kind > 8 else "train", rng.choice(["step", "gap"]))
        for ledger in (often, once):
            ledger.mark(ledger.code(*account))
        end_ns, power_w = clock.now_ns + round(rng.uniform(0.2, 2) * apart_s * S), rng.choice([100.0, 300.0])
        while next_ns <= end_ns:
            shown.append((next_ns + round(lag_s * S), energy_j + power_w * (next_ns - clock.now_ns) / S))
            next_ns += round(period_s * S)
        energy_j += power_w * (end_ns - clock.now_ns) / S
        clock.now_ns = end_ns
        while shown and shown[0][0] <= end_ns:
            knot = shown.pop(0)
            for curve in curves:
                curve.add(*knot)
        if n % 30 == 29:
            often.settle()
            once.settle()
        if n < 30 and n % 5:  # until powers can be fitted it looks at less
            continue
        once.books[0].__dict__["_for_now"] = None
        asked = [ledger.totals() for ledger in (often, once)]
        for wanted in ({}, {"stage": "train"}, {"epoch": epoch}, {"kind": "step"}):
            a, b = (astuple(totals.energy(**wanted)) for totals in asked)
            for one, other in zip(a, b, strict=True):  # sums over more marks are rounded otherwise
                assert one == (pytest.approx(other, rel=1e-12, abs=1e-12) if isinstance(other, float) else other)


def test_whoever_asks_again_before_anything_is_new_waits_for_less():
    ledger, at, grow, clock = constant()
    for n in range(20):
        at(n, (0, "train", "step"))
        grow(n)
    at(19.5, (0, "validate", "step"))
    clock.now_ns += S // 4
    first = ledger.totals()
    booking = ledger.books[0].__dict__["_for_now"]
    at(19.8, (0, "train", "gap"))
    clock.now_ns += S // 10
    second = ledger.totals()
    assert ledger.books[0].__dict__["_for_now"] is booking
    assert second.energy(stage="validate").duration_s == pytest.approx(0.3)
    assert second.energy(stage="validate").energy_j > first.energy(stage="validate").energy_j

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from lightning_energy.curves.poll_plan import PollPlan

S = 10**9
BEGIN_NS = 10**15


@dataclass
class Register:
    """A register that moves exactly periodically, and is known to."""

    period_s: float | None = 0.1
    spread_ns: int = 500_000
    is_sure: bool = True
    is_sharp: bool = False
    now_ns: int = BEGIN_NS

    @property
    def next_edge_ns(self) -> int | None:
        period_ns = self.period_ns
        return None if period_ns is None else BEGIN_NS + (self.updates(self.now_ns) + 1) * period_ns

    @property
    def period_ns(self) -> int | None:
        return None if self.period_s is None else round(self.period_s * S)

    def updates(self, time_ns: int) -> int:
        return (time_ns - BEGIN_NS) // self.period_ns


@dataclass
class Poll:
    start_ns: int
    end_ns: int
    moved: bool
    looked: bool
    slack_ns: int


def polls(plan: PollPlan, register: Register, seconds: float, *, call_s=5e-5, late_s=0.0, looks=0) -> list[Poll]:
    """Poll whenever the plan wants to, for some time; each poll comes late by the same."""
    done, now_ns = [], register.now_ns
    end_ns = now_ns + round(seconds * S)
    while now_ns < end_ns:
        start_ns, slack_ns = max(plan.due_ns, now_ns) + round(late_s * S), plan.slack_ns
        looked = plan.take_look()
        now_ns = start_ns + round(call_s * S)
        moved = register.updates(start_ns) > register.updates(register.now_ns)
        register.now_ns = start_ns
        plan.polled(start_ns, now_ns, (2 if looked else 1) * round(call_s * S))
        plan.go_on(now_ns, register, moved=moved, looks=looks + sum(p.looked for p in done))
        done.append(Poll(start_ns, now_ns, moved, looked, slack_ns))
    return done


def before_and_after_s(register: Register, found: list[Poll]) -> list[tuple[float, float]]:
    """Seconds from the last poll before an update to it, and from it to the first poll after."""
    rows = []
    for a, b in pairwise(found):
        if b.moved:
            edge_ns = BEGIN_NS + register.updates(b.start_ns) * register.period_ns
            rows.append(((edge_ns - a.start_ns) / S, (b.start_ns - edge_ns) / S))
    return rows


def test_an_edge_is_hunted_from_just_before_it_until_it_comes():
    plan, register = PollPlan(), Register()
    found = polls(plan, register, 10.0)
    edges = before_and_after_s(register, found)
    assert len(edges) == pytest.approx(100, abs=1)
    assert all(0 < before_s < 0.0015 and 0 <= after_s < 0.0015 for before_s, after_s in edges)
    assert len(found) / len(edges) < 4
    assert all(p.slack_ns == 0 for p in found)


def test_late_polls_begin_sooner():
    """The lead grows by the mean lateness, so that a poll still comes before the edge."""
    plan, register = PollPlan(), Register()
    polls(plan, register, 10.0, late_s=0.003)
    edges = before_and_after_s(register, polls(plan, register, 10.0, late_s=0.003))
    assert np.mean([before_s < 0.006 for before_s, _ in edges]) > 0.95


@pytest.mark.parametrize(("is_sure", "most"), [(True, 1.3), (False, 4.0)])
def test_of_many_devices_one_edge_in_sixteen_is_hunted_where_the_line_is_sure(is_sure, most):
    plan, register = PollPlan(), Register(is_sure=is_sure)
    plan.hunts_always = False
    found = polls(plan, register, 32.0)
    moves = [p for p in found if p.moved]
    assert len(moves) == pytest.approx(320, abs=2)
    assert len(found) / len(moves) < most
    patient = [p for p in moves if p.slack_ns]
    assert len(patient) == (pytest.approx(300, abs=3) if is_sure else 0)
    assert all(p.slack_ns == 0.3 * register.period_ns for p in patient)


@pytest.mark.parametrize(("is_sure", "most"), [(True, 1.4), (False, 4.0)])
def test_of_edges_that_a_line_tells_as_sharply_one_in_eight_is_hunted(is_sure, most):
    plan, register = PollPlan(), Register(is_sure=is_sure, is_sharp=True)
    found = polls(plan, register, 32.0)
    moves = [p for p in found if p.moved]
    assert len(moves) == pytest.approx(320, abs=2)
    assert 1.1 < len(found) / len(moves) < most
    assert all(p.slack_ns == 0 for p in found)  # nobody waits for others


@pytest.mark.parametrize(("hunts_always", "every"), [(True, 8), (False, 16)])
def test_the_edges_that_are_hunted_come_at_no_regular_distance(hunts_always, every):
    """Updates that are early and late in turns were else seen on one side only."""
    plan, register = PollPlan(), Register(is_sharp=True)
    plan.hunts_always = hunts_always
    found = polls(plan, register, 200.0)
    moved = [b.start_ns - a.start_ns < 0.01 * S for a, b in pairwise(found) if b.moved]
    distances = np.diff(np.flatnonzero(moved))
    assert np.mean(distances) == pytest.approx(every, rel=0.1)
    assert every // 2 <= distances.min() < distances.max() <= every // 2 + every
    assert len({*distances.tolist()}) > every // 2


def test_of_many_devices_those_that_a_line_tells_sharply_wait_for_others_as_well():
    plan, register = PollPlan(), Register(is_sharp=True)
    plan.hunts_always = False
    moves = [p for p in polls(plan, register, 32.0) if p.moved]
    assert np.mean([p.slack_ns > 0 for p in moves]) > 0.9


@pytest.mark.parametrize("odd_s", [-0.02, 0.13])
def test_after_a_move_that_came_too_soon_or_late_the_next_is_hunted(odd_s):
    plan, register = PollPlan(), Register(is_sharp=True)
    polls(plan, register, 3.0)
    while not (plan.is_before_edge and odd_s < 0) and not (odd_s > 0 and not plan.is_before_edge):
        polls(plan, register, 0.05)
    seen_ns = plan._edge.next_ns + round(odd_s * S)
    register.now_ns = seen_ns
    plan.polled(seen_ns, seen_ns + 50_000)
    plan.go_on(seen_ns + 50_000, register, moved=True, looks=0)
    assert plan.is_before_edge


def test_where_any_poll_gives_a_knot_ten_are_made_in_a_second_and_slow_ones_rarely():
    plan, now_ns, waits_s = PollPlan(), BEGIN_NS, []
    for call_s in (0.00005, 0.01):
        for _ in range(200):
            plan.polled(now_ns, now_ns + round(call_s * S))
            plan.go_on(now_ns, None, moved=True, looks=0)
            waits_s.append((plan.due_ns - now_ns) / S)
            now_ns = plan.due_ns
    quick_s, slow_s = waits_s[:200], waits_s[-100:]
    assert min(quick_s) >= 0.075
    assert max(quick_s) <= 0.125
    assert np.mean(quick_s) == pytest.approx(0.1, rel=0.02)
    assert np.mean(slow_s) == pytest.approx(0.2, rel=0.05)  # twenty calls


def test_an_unknown_period_is_searched_closely():
    plan, register = PollPlan(), Register(period_s=None)
    plan.polled(BEGIN_NS, BEGIN_NS + 50_000)
    plan.go_on(BEGIN_NS, register, moved=False, looks=0)
    assert 0.0015 <= (plan.due_ns - BEGIN_NS) / S <= 0.0025


def test_an_overdue_edge_is_watched_ever_more_slowly_but_once_in_a_period():
    plan, register, waits_s = PollPlan(), Register(), []
    next_ns = register.next_edge_ns
    for late_s in (0.0, 0.3, 100.0):
        now_ns = next_ns + round(late_s * S)  # the register stands still: it is still the same edge that is expected
        plan.polled(now_ns, now_ns + 50_000)
        plan.go_on(now_ns, register, moved=False, looks=0)
        waits_s.append((plan.due_ns - now_ns) / S)
    assert waits_s == sorted(waits_s)
    assert waits_s[0] < 0.0015
    assert 0.075 <= waits_s[-1] <= 0.125


@pytest.mark.parametrize(("period_s", "call_s"), [(0.1, 0.0034), (0.02, 0.001), (0.1, 0.008)])
@pytest.mark.parametrize("is_sure", [True, False])
def test_slow_calls_take_a_twentieth_of_the_time(period_s, call_s, is_sure):
    plan, register = PollPlan(), Register(period_s, is_sure=is_sure)
    polls(plan, register, 10.0, call_s=call_s)  # what was saved up at the beginning is spent
    found = polls(plan, register, 30.0, call_s=call_s)
    assert len(found) * call_s / 30.0 <= 0.06
    assert max(b.start_ns - a.start_ns for a, b in pairwise(found)) < 2 * S


def test_a_lost_device_is_tried_at_once_and_then_more_slowly():
    plan = PollPlan()

    def waits_s(n: int) -> list[float]:
        found = []
        for _ in range(n):
            plan.retry(BEGIN_NS)
            found.append((plan.due_ns - BEGIN_NS) / S)
        return found

    assert waits_s(5) == pytest.approx([0.05, 0.1, 0.2, 0.25, 0.25])
    plan.polled(BEGIN_NS, BEGIN_NS + 1000)
    assert waits_s(1) == pytest.approx([0.05])


@pytest.mark.parametrize(("hunts_always", "every"), [(True, 8), (False, 16)])
def test_a_new_load_is_looked_at_before_each_edge_and_a_known_one_now_and_then(hunts_always, every):
    plan, register = PollPlan(can_look=True), Register()
    plan.hunts_always = hunts_always
    new = polls(plan, register, 5.0)
    assert sum(p.looked for p in new) == pytest.approx(50, abs=2)
    known = polls(plan, register, 32.0, looks=100)
    assert sum(p.looked for p in known) == pytest.approx(320 / every, abs=2)
    phases = np.array([(p.start_ns - BEGIN_NS) % register.period_ns / register.period_ns for p in new if p.looked])
    assert phases.min() < 0.2
    assert phases.max() > 0.8  # at any phase of the register's period


def test_no_board_is_looked_at_that_cannot_show_its_power():
    assert not any(p.looked for p in polls(PollPlan(), Register(), 5.0))


def test_a_look_is_taken_once():
    plan, register = PollPlan(can_look=True), Register()
    plan.polled(BEGIN_NS, BEGIN_NS + 1000)
    plan.go_on(BEGIN_NS, register, moved=True, looks=0)
    assert plan.take_look()
    assert not plan.take_look()


def test_a_plan_that_begins_anew_polls_at_once_and_then_as_the_register_is_known():
    plan, register = PollPlan(can_look=True), Register()
    plan.polled(BEGIN_NS, BEGIN_NS + 1000)
    plan.go_on(BEGIN_NS + 1000, register, moved=True, looks=0)
    assert plan.looks
    assert plan.due_ns > BEGIN_NS
    plan.begin_anew()
    assert (plan.due_ns, plan.slack_ns, plan.is_before_edge, plan.looks) == (0, 0, False, False)
    later_ns = BEGIN_NS + 10 * S
    register.now_ns = later_ns
    plan.go_on(later_ns, register, moved=False, looks=1000)
    assert later_ns < plan.due_ns < later_ns + 0.1 * S


def test_at_the_end_every_edge_is_hunted_at_once():
    plan, register = PollPlan(), Register()
    plan.hunts_always = False
    polls(plan, register, 10.05, call_s=0.0034)
    plan.hurry()
    assert (plan.due_ns, plan.slack_ns) == (0, 0)
    edges = before_and_after_s(register, polls(plan, register, 2.0, call_s=0.0034))
    assert len(edges) == pytest.approx(20, abs=1)
    assert all(after_s <= 2.25 * 0.0034 for _, after_s in edges)  # a call, and a jittered wait that is as long

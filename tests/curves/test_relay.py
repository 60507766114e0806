from __future__ import annotations

import pickle
import random
import threading
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest

from lightning_energy.curves.channel import Channel
from lightning_energy.curves.relay import News, Relay
from lightning_energy.meters import NvmlMeter
from lightning_energy.meters.nvml_watch import Findings
from tests.sim.clock import VirtualClock, drive
from tests.sim.nvml import SimulatedGpu, SimulatedNvml

if TYPE_CHECKING:
    from collections.abc import Iterator

S = 10**9
UUID = "GPU-00000000-0000-0000-0000-000000000000"
LOAD = [(3.1, 300.0), (2.2, 90.0), (0.04, 350.0)]


def sent(news: News) -> News:
    """As it arrives in another process."""
    return pickle.loads(pickle.dumps(news))


class Two:
    """A channel in two processes, here both in this one: ``ours`` has the curve, ``theirs`` is that of the helper."""

    def __init__(self, gpu: SimulatedGpu, clock: VirtualClock) -> None:
        self.gpu, self.clock, self.rng = gpu, clock, random.Random(1)
        self.lock = threading.RLock()
        self.ours = self.relay()
        self.theirs: Relay | None = None

    def relay(self) -> Relay:
        meter = NvmlMeter(UUID)
        return Relay(meter, Channel(meter, meter.open(), clock=self.clock), self.lock)

    def begin(self) -> None:
        self.theirs = self.relay()
        assert self.theirs.begin(sent(self.ours.leave()))
        self.made = knots(self.theirs.channel)

    def poll(self, relay: Relay, seconds: float) -> None:
        drive(relay.channel, self.clock, self.clock.now_ns + round(seconds * S), seed=self.rng.randrange(10**6))

    def follow(self, seconds: float) -> None:
        """Poll there, and take the news every now and then."""
        end_ns = self.clock.now_ns + round(seconds * S)
        while self.clock.now_ns < end_ns:
            self.poll(self.theirs, self.rng.uniform(0.01, 0.5))
            self.tell()

    def tell(self) -> None:
        """Let the helper send its news."""
        self.note()
        assert self.ours.take(sent(self.theirs.give()))

    def note(self) -> None:
        """Note the points of the helper's curve, which it forgets."""
        last_ns = self.made[0][-1] if self.made[0] else 0
        for made, new in zip(self.made, knots(self.theirs.channel, last_ns), strict=True):
            made.extend(new)

    @property
    def curve(self):
        return self.ours.channel.curve

    def uncounted_j(self) -> float:
        """The joules that the counter shows beyond the curve, just after a poll: always as many."""
        self.ours.channel.poll(self.lock)
        return self.gpu.counter_mj() / 1e3 - self.curve.end_j


@contextmanager
def two(monkeypatch, **board) -> Iterator[Two]:
    clock = VirtualClock()
    monkeypatch.setattr("lightning_energy.meters.nvml.monotonic_ns", clock)
    gpu = SimulatedGpu(LOAD, uuid=UUID, **board)
    with SimulatedNvml([gpu], clock=clock):
        yield Two(gpu, clock)


def knots(channel: Channel, since_ns: int = 0) -> list[list[float]]:
    """Every figure of a curve behind a moment."""
    found = channel.curve.knots(channel.curve.place_after(since_ns))
    return [getattr(found, field.name).tolist() for field in fields(found)]


def shown(channel: Channel) -> list[object]:
    """Everything that is asked of a channel beside its curve."""
    names = "reads", "troubles", "period_s", "period_residual_s", "is_continuous", "is_exact", "spacing_s"
    others = channel.plan.calls.call_ns, channel.curve.power_bounds_w(), channel.curve.last
    return [*(getattr(channel, name) for name in names), *others]


# a counter, a fast one, one that is late and irregular, one that moves rarely (so that its power is read beside it),
# none at all, and one of which it is found later that it counts a whole module
BOARDS = {
    "counter": {"counter_period_s": 0.1},
    "fast": {"counter_period_s": 0.02},
    "irregular": {"counter_period_s": 0.05, "jitter_s": 0.004},
    "rare": {"counter_period_s": 1.3},
    "power": {"counter_period_s": None},
    "module": {"module_extra_w": 250.0, "counts_module": True},
}


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("first_s", [0.0, 0.02, 5.0])
def test_the_curve_is_that_of_the_helper_bit_for_bit(first_s, board, monkeypatch):
    """Also through a loss, a counter that stands still and another that contradicts the powers."""
    with two(monkeypatch, **BOARDS[board]) as both:
        gpu, ours = both.gpu, both.ours.channel
        both.poll(both.ours, first_s)
        before, shown_before = knots(ours), shown(ours)
        both.begin()
        theirs = both.theirs.channel
        assert shown(ours) == shown_before
        both.follow(9.0)
        gpu.lose()
        both.follow(0.3)
        gpu.restore()
        both.follow(3.0)
        gpu.lose()
        both.follow(2.0)
        gpu.restore()
        both.follow(3.0)
        assert shown(ours) == shown(theirs)
        gpu.freeze()
        both.follow(9.0)
        gpu.thaw()
        both.follow(2.0)
        gpu.counter_gain = 3.0
        both.follow(56.0)
        assert shown(ours) == shown(theirs)
        both.ours.go_on()
        ours.finish()
        theirs.finish()
        both.note()
        assert len(both.made[0]) > 100
        assert knots(ours, both.made[0][0] - 1) == both.made
        assert [now[: len(was)] for now, was in zip(knots(ours), before, strict=True)] == before
        assert ours.info == replace(theirs.info, condition=ours.info.condition)  # of which each has looked itself


@pytest.mark.parametrize("board", ["counter", "fast", "irregular", "rare"])
def test_no_joule_is_missing_or_twice_where_one_process_goes_on_for_the_other(board, monkeypatch):
    """Whenever the helper begins, and dies with news that it had not sent."""
    with two(monkeypatch, **BOARDS[board]) as both:
        both.poll(both.ours, 20.0)
        uncounted_j, start_ns = both.uncounted_j(), both.curve.end_ns
        for _ in range(12):
            both.begin()
            both.follow(both.rng.choice([0.0, both.rng.uniform(0.0, 8.0)]))
            both.poll(both.theirs, both.rng.uniform(0.0, 2.0))  # what it reads last is lost with it
            both.ours.go_on()
            assert both.ours.channel.due_ns == 0  # at once
            both.poll(both.ours, both.rng.uniform(0.0, 3.0))
            assert both.uncounted_j() == pytest.approx(uncounted_j, abs=1e-6)
        both.poll(both.ours, 3.0)
        found = both.curve.energy_between(start_ns, both.curve.end_ns)
        assert found.missing_s == 0
        assert found.quality == "measured"
        assert both.ours.channel.troubles == {}
        truth_j = both.gpu.true_energy_j(start_ns, both.curve.end_ns)
        assert abs(found.energy_j - truth_j) <= 3 * found.u_j


def test_the_time_of_news_that_are_lost_is_missing_where_power_is_read(monkeypatch):
    with two(monkeypatch, counter_period_s=None) as both:
        both.poll(both.ours, 5.0)
        both.begin()
        both.follow(5.0)
        both.ours.go_on()  # with all of its news
        both.poll(both.ours, 5.0)
        start_ns = both.curve.start_ns
        assert both.curve.energy_between(start_ns, both.curve.end_ns).missing_s == 0
        both.begin()
        both.follow(5.0)
        both.poll(both.theirs, 4.0)
        both.ours.go_on()
        both.poll(both.ours, 5.0)
        found = both.curve.energy_between(start_ns, both.curve.end_ns)
        assert found.missing_s == pytest.approx(4.1, abs=0.2)
        assert found.energy_j == pytest.approx(both.gpu.true_energy_j(start_ns, both.curve.end_ns), rel=0.4)


@pytest.mark.parametrize("board", ["counter", "rare", "power"])
@pytest.mark.parametrize("damage", [lambda state: state[:-9], lambda _: b"", lambda _: b"\x80\x05garbage"])
def test_where_the_state_is_damaged_the_time_until_the_next_point_is_missing(damage, board, monkeypatch):
    with two(monkeypatch, **BOARDS[board]) as both:
        both.poll(both.ours, 5.0)
        both.begin()
        both.follow(8.0)
        points, shown, state, findings = both.theirs.give()
        assert both.ours.take((points, shown, damage(state), findings))
        end_ns, end_j = both.curve.end_ns, both.curve.end_j
        both.clock.now_ns += 2 * S
        both.ours.go_on()
        assert (both.curve.end_ns, both.curve.end_j) == (end_ns, end_j)
        assert both.ours.channel.period_residual_s is None  # what was only shown would be wrong for the next readings
        both.poll(both.ours, 5.0)
        found = both.curve.energy_between(both.curve.start_ns, both.curve.end_ns)
        assert 0.5 < found.missing_s < 3.5
        behind = both.curve.energy_between(end_ns, both.curve.end_ns)
        assert behind.energy_j <= both.gpu.true_energy_j(end_ns, both.curve.end_ns)


def test_news_that_cannot_be_are_taken_as_a_whole_or_not_at_all(monkeypatch):
    """Nothing is missing or twice where the thread goes on from those before."""
    with two(monkeypatch) as both:
        both.poll(both.ours, 5.0)
        uncounted_j, start_ns = both.uncounted_j(), both.curve.end_ns
        both.begin()
        both.follow(3.0)
        both.poll(both.theirs, 1.0)
        points, shown, state, findings = both.theirs.give()
        before = knots(both.ours.channel)
        earlier = both.curve.knots(0, 1).plain()
        for wrong in (points, shown[1:], state, findings), (earlier, shown, state, findings):
            with pytest.raises((TypeError, ValueError)):
                both.ours.take(wrong)
            assert knots(both.ours.channel) == before
        both.ours.go_on()
        both.poll(both.ours, 1.0)
        assert both.uncounted_j() == pytest.approx(uncounted_j, abs=1e-6)
        assert both.curve.energy_between(start_ns, both.curve.end_ns).missing_s == 0


# the first with updates of which the period was not settled when the helper began
@pytest.mark.parametrize(("first_s", "then_s"), [(0.15, 3.0), (0.25, 0.0), (5.0, 0.0), (5.0, 3.0)])
def test_time_that_was_booked_as_missing_meanwhile_gets_no_joules(first_s, then_s, monkeypatch):
    """The training's process was stopped, and looked at its threads before it took the news."""
    with two(monkeypatch) as both:
        both.poll(both.ours, first_s)
        both.begin()
        both.follow(then_s)
        both.poll(both.theirs, 30.0)
        lost_ns = both.clock.now_ns - both.curve.end_ns
        end_j = both.curve.end_j
        both.ours.channel.stalled(both.clock.now_ns)
        assert not both.ours.take(sent(both.theirs.give()))
        assert both.curve.end_j == end_j
        both.ours.go_on()
        both.poll(both.ours, 5.0)
        found = both.curve.energy_between(both.curve.start_ns, both.curve.end_ns)
        assert lost_ns / S <= found.missing_s < lost_ns / S + 0.2
        truth_j = both.gpu.true_energy_j(both.curve.start_ns, both.curve.end_ns)
        assert found.energy_j < truth_j - 0.8 * 90.0 * found.missing_s
        assert [*both.ours.channel.troubles] == ["it does not answer"]


def test_the_helper_forgets_what_both_have(monkeypatch):
    with two(monkeypatch) as both:
        both.poll(both.ours, 2.0)
        both.begin()
        for _ in range(5):
            both.poll(both.theirs, 2.0)
            assert len(both.theirs.channel.curve) > 10
            both.tell()
            assert len(both.theirs.channel.curve) == 1
        both.tell()  # nothing new
        assert both.curve.energy_between(both.curve.start_ns, both.curve.end_ns).missing_s == 0
        assert len(both.curve) > 100


def test_findings_of_one_process_are_heeded_in_the_other(monkeypatch):
    """Of which meters a board's counter covers: in the thread's first seconds, and in the helper's."""
    with two(monkeypatch, module_extra_w=250.0, counts_module=True) as both:
        both.begin()
        both.follow(15.0)
        assert both.ours.channel.info.scope == "module"
        assert Findings.of(both.ours.meter.findings).module
        both.ours.go_on()
    with two(monkeypatch, module_extra_w=250.0, counts_module=True) as both:
        theirs = both.relay()  # opened before anything was found
        both.poll(both.ours, 15.0)
        assert theirs.begin(both.ours.leave())
        assert Findings.of(theirs.meter.findings).module
        assert theirs.channel.info.scope == "module"

"""Meters and systems that fail, in a Trainer and in one's own loop: the training goes on, and no figure is wrong."""

from __future__ import annotations

import math
import threading
import time
import warnings
from dataclasses import replace

import pytest

from lightning_energy import EnergyMonitor, ReplayMeter
from lightning_energy.ledger import session as session_module
from lightning_energy.ledger import troubles
from lightning_energy.meters.base import Reading
from tests.modules import Classifier, energy_callback, loader, make_trainer

POWER_W = 200.0
HEALTHY_W = 100.0
FIRST = 5  # the first reading that is broken


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60.0
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)


class Long(Classifier):
    """Its first step lasts for a while."""

    def __init__(self, until) -> None:
        super().__init__()
        self.until = until

    def training_step(self, batch, batch_idx):
        wait_for(self.until)
        return super().training_step(batch, batch_idx)


def report_of(way, tmp_path, *meters, until=None):
    """The report of a run over these meters that lasts at least 0.2 s, and everything that was told."""
    end = time.monotonic() + 0.2
    until = until or (lambda: time.monotonic() > end)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if way == "trainer":
            energy = energy_callback(meters=[*meters], record=tmp_path / "energy.json")
            trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[energy])
            trainer.fit(Long(until), loader(16), loader(8))
            assert trainer.current_epoch == 2
            report = energy.report
        else:
            with EnergyMonitor(meters=[*meters], record=tmp_path / "energy.json", print_report=False) as monitor:
                for epoch in range(2):
                    with monitor.stage("train", epoch), monitor.step(samples=4):
                        wait_for(until)
            report = monitor.report
    told = " ".join([*(str(w.message) for w in caught), *(note.text for note in report.notes)])
    assert "bug" not in told
    return report, told


both_ways = pytest.mark.parametrize("way", ["trainer", "loop"])


# ------------------------------------------------------------------------------------------------ no thread


@both_ways
def test_where_no_thread_can_be_started_everything_is_missing_and_told(tmp_path, monkeypatch, way):
    def refuse(self) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    report, told = report_of(way, tmp_path, ReplayMeter(POWER_W, counter_period_s=0.02))
    session = report.session
    assert session.energy_j is None
    assert session.missing_s == pytest.approx(session.duration_s)
    assert session.duration_s > 0.1
    assert "no thread can be started" in told
    assert "does not answer" not in told


# ------------------------------------------------------------------------------------------------ impossible readings


class Faulty(ReplayMeter):
    """A meter whose readings are broken: all from the fifth on, or that one alone."""

    def __init__(self, breaks, *, for_good: bool, **kwargs) -> None:
        super().__init__(POWER_W, device_id="faulty", **kwargs)
        self.breaks, self.for_good, self.reads = breaks, for_good, 0

    def read(self):
        self.reads += 1
        reading = super().read()
        if self.reads == FIRST or (self.for_good and self.reads > FIRST):
            return self.breaks(reading)
        return reading

    def read_power_w(self) -> float:
        return math.nan


READINGS = {
    "a register of NaN": lambda r: replace(r, register_j=math.nan),
    "an infinite register": lambda r: replace(r, register_j=math.inf),
    "a register of text": lambda r: replace(r, register_j="7 J"),
    "a power of NaN": lambda r: replace(r, register_j=None, power_w=math.nan),
    "a negative power": lambda r: replace(r, register_j=None, power_w=-5.0),
    "the beginning of time": lambda r: Reading(1, 2, r.register_j),
    "an hour ago": lambda r: replace(r, start_ns=r.start_ns - 3600 * 10**9, end_ns=r.end_ns - 3600 * 10**9),
    "in an hour": lambda r: replace(r, start_ns=r.start_ns + 3600 * 10**9, end_ns=r.end_ns + 3600 * 10**9),
    "the calendar's time": lambda r: Reading(time.time_ns(), time.time_ns(), r.register_j),
    "a time of NaN": lambda r: replace(r, start_ns=math.nan),
    "an end before the beginning": lambda r: replace(r, end_ns=r.start_ns - 10**9),
    "no reading": lambda r: None,
    "something else": lambda r: (r.start_ns, r.register_j),
}
IN_A_TRAINER = ("a register of NaN", "a negative power", "in an hour", "no reading")  # one of each kind: it takes long


@pytest.mark.slow
@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize(
    ("what", "way"), [*((what, "loop") for what in READINGS), *((what, "trainer") for what in IN_A_TRAINER)]
)
def test_a_reading_that_cannot_be_is_out_and_told(tmp_path, way, what, for_good):
    faulty = Faulty(READINGS[what], for_good=for_good, counter_period_s=0.005)
    healthy = ReplayMeter(HEALTHY_W, counter_period_s=0.005)
    end = time.monotonic() + 0.2
    until = lambda: faulty.reads > FIRST + 3 and time.monotonic() > end  # noqa: E731 - short
    report, told = report_of(way, tmp_path, healthy, faulty, until=until)
    healthy, broken = (device.energy for device in report.devices)
    assert healthy.energy_j == pytest.approx(HEALTHY_W * healthy.duration_s, abs=5 * healthy.u_j, rel=0.2)
    assert healthy.missing_s < 0.5 * healthy.duration_s
    assert "the sampler stopped" not in told
    assert broken.energy_j is None or 0 <= broken.energy_j < 5 * POWER_W * broken.duration_s
    assert "replayed device (faulty): it" in told
    for energy in (report.session, *report.stages.values()):
        assert energy.energy_j is None or 0 <= energy.energy_j < 5 * (POWER_W + HEALTHY_W) * energy.duration_s
        assert math.isfinite(energy.u_absolute_j)


# ------------------------------------------------------------------------------------------------ questions that hang


class Hanging(ReplayMeter):
    """A meter with a call that never returns, until the test is over."""

    def __init__(self, call: str) -> None:
        super().__init__(POWER_W, counter_period_s=0.02)
        self.call = call
        self.over = threading.Event()

    def other_processes(self):
        return self.over.wait(60) if self.call == "other_processes" else None

    def close(self) -> None:
        if self.call == "close":
            self.over.wait(60)
        super().close()


@both_ways
@pytest.mark.parametrize("call", ["other_processes", "close", "the CPU's processes"])
def test_a_question_at_the_end_that_hangs_does_not_keep_the_run(tmp_path, monkeypatch, way, call):
    meter = Hanging(call)
    monkeypatch.setattr(troubles, "QUERY_S", 0.2)
    monkeypatch.setattr(session_module, "CLOSE_S", 0.2)
    if call == "the CPU's processes":
        monkeypatch.setattr(troubles, "OF_CPU", {"gpu"})
        monkeypatch.setattr(troubles.OtherPrograms, "share", lambda self: meter.over.wait(60))
    report, told = report_of(way, tmp_path, meter)
    assert not meter.over.is_set()
    meter.over.set()
    assert report.outcome == "completed"
    session = report.session
    assert session.energy_j == pytest.approx(POWER_W * session.duration_s, abs=5 * session.u_j, rel=0.2)
    assert ("does not answer within 0.2 s" in told) is (call != "close")
